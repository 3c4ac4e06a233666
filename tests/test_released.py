"""Bundles, ledgers and run.json of every schema that was released: read, or explained (`tests/released`)."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from folder_runs import classify, rows
from lits_deploy.bundle import Artifact, Bundle, Manifest
from lits_deploy.cli.app import app
from lits_deploy.contract import InputContract
from lits_deploy.errors import BundleError, OutputError
from lits_deploy.ledger import FILE_NAME, OK, FileRow, Ledger, SecondRow, SliceRow
from lits_deploy.ledger.check import examine
from lits_deploy.manifest_check import _ARTIFACT, _CONTRACT, _MANIFEST
from lits_deploy.manifest_history import SCHEMA, STEPS
from lits_deploy.operating_point import OperatingPoint, point_of
from lits_deploy.packing import pack, unpack
from lits_deploy.pipeline.network import decider_of
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.output import LOCK, OutputFolder
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pseudonyms import SALT_FILE
from lits_deploy.report.redraw import redraw
from lits_deploy.run_json import read_run_json
from lits_deploy.scans.appearance import GREY, packed
from lits_deploy.scans.discover import ScanRecord
from lits_deploy.upgrade import upgrade
from lits_deploy.verify import verify
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle, write_raw_manifest
from worlds import Series

RELEASED = Path(__file__).parent / "released"
BUNDLES = sorted(RELEASED.glob("bundle-?"))
OUTS = sorted(RELEASED.glob("out-*"))
CLASSES = ("p0", "p1", "p2")
_FILES = "SELECT path, size, mtime_ns FROM file ORDER BY path"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder_of_slices(tmp_path / "scans" / "pictures", 3)
    Series(name="ct", count=3, step=2.0).write(tmp_path / "scans" / "series")
    return tmp_path / "scans"


def out_of(kind: str, out: Path, *, ledger: Path | None = None) -> Path:
    """An OUT as that version left it; ledger: the folder of `--ledger`."""
    source, target = RELEASED / kind, ledger or out
    for folder in {out, target}:
        folder.mkdir(mode=0o700, parents=True)
    db = sqlite3.connect(target / FILE_NAME)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript((source / "ledger.sql").read_text(encoding="utf-8"))
    db.close()
    shutil.copy(source / "salt", target / SALT_FILE)
    (target / LOCK).touch()
    for name in ("slices.csv", "studies.csv"):
        shutil.copy(source / name, out)
    run = json.loads((source / "run.json").read_text(encoding="utf-8"))
    run["options"]["ledger"] = "elsewhere" if ledger else None
    (out / "run.json").write_text(json.dumps(run))
    return out


def pseudonyms(out: Path) -> dict[str, tuple[str, str]]:
    return {row["path"]: (row["study"], row["series"]) for row in rows(out)}


class TestBundles:
    def test_every_schema_has_a_bundle_here(self) -> None:
        assert [folder.name for folder in BUNDLES] == [f"bundle-{number}" for number in range(1, SCHEMA + 1)]
        assert sorted(STEPS) == list(range(1, SCHEMA))

    @pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: folder.name)
    def test_it_verifies_and_answers_as_it_did(self, folder: Path, scans: Path, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        problems, checks = verify(folder)
        assert problems == []
        assert checks
        assert all(check.passed for check in checks)
        options = ClassifyOptions(runtime="onnxruntime", device="cpu", workers=1)
        run_folder(Bundle.open(folder), [scans], tmp_path / "out", options=options)
        # The network of all is that of 2; a JPEG's grey values differ from decoder to decoder.
        then, now = rows(RELEASED / "out-3"), rows(tmp_path / "out")
        for row in then:
            row["window"] = row["window"].replace("-40…160 HU", "[-40, 160] HU")  # as tables have had it since schema 4
        columns = ("path", "label", "reason", "window", "z_mm", "bundle", "contract")[
            : 7 if folder.name[-1] == "2" else 1
        ]
        assert [[row[name] for name in columns] for row in now] == [[row[name] for name in columns] for row in then]
        for one, other in zip(then, now, strict=True):
            assert [float(one[p]) for p in CLASSES] == pytest.approx([float(other[p]) for p in CLASSES], abs=1e-3)

    def test_an_exported_one_verifies_and_classifies_in_each_precision(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        bundle = Bundle.open(RELEASED / "bundle-2-exported")
        problems, checks = verify(bundle.folder)
        assert problems == []
        assert {check.artifact for check in checks if check.passed} == {"fp32", "fp16", "int8-cpu"}
        assert all(check.passed for check in checks)
        options = ClassifyOptions(runtime="onnxruntime", device="cpu", precision="int8", workers=1)
        pictures = folder_of_slices(tmp_path / "scans", 3, size=256)
        summary = run_folder(bundle, [pictures], tmp_path / "out", options=options)
        assert (summary.slices, summary.failed) == (3, 0)

    def test_a_bundle_before_there_were_operating_points_gives_the_most_probable_class(self, scans: Path) -> None:
        artifact = Bundle.open(RELEASED / "bundle-2").artifact()
        assert point_of(artifact) == OperatingPoint(rule="argmax")
        assert decider_of("classify", artifact, ClassifyOptions()).to_json() == {
            "abstain_below": artifact.abstain_below
        }
        with pytest.raises(BundleError, match=r"fp32 has no operating points: none were fitted at export\. Fix: "):
            point_of(artifact, "balanced")

    def test_a_bundle_of_today_marks_by_its_rule(self, scans: Path, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        bundle = Bundle.open(RELEASED / "bundle-3")
        options = ClassifyOptions(runtime="onnxruntime", device="cpu", workers=1)
        run_folder(bundle, [scans], tmp_path / "out", options=options)
        for row in rows(tmp_path / "out"):
            p0, p1, p2 = (float(row[name]) for name in CLASSES)
            assert (row["label"] == "2") == (p2 / (p0 + p1) >= 0.125)

    @pytest.mark.parametrize("name", ["bundle-2-exported", "bundle-2-measured"])
    def test_nothing_of_an_exported_manifest_is_lost(self, name: str) -> None:
        folder = RELEASED / name
        then, now = json.loads((folder / "manifest.json").read_bytes()), Bundle.open(folder).manifest.to_json()
        assert (then.pop("schema"), now["schema"]) == (2, SCHEMA)
        for one, other in zip(then.pop("artifacts"), json.loads(json.dumps(now.pop("artifacts"))), strict=True):
            assert {key: other[key] for key in one} == one
        assert {key: now[key] for key in then} == then

    @pytest.mark.parametrize("folder", BUNDLES, ids=lambda folder: folder.name)
    def test_it_is_packed_as_it_is_and_inspected(self, folder: Path, tmp_path: Path) -> None:
        packed = pack(folder, tmp_path / "packed.zip")
        assert unpack(packed, tmp_path / "again").sha256 == Bundle.open(folder).sha256
        schema = int(folder.name[-1])
        said = CliRunner().invoke(app, ["bundle", "inspect", str(packed)])
        assert said.exit_code == 0, said.output
        assert (f"{schema}, read as {SCHEMA}" in said.output) == (schema < SCHEMA)
        inspected = CliRunner().invoke(app, ["bundle", "inspect", str(folder), "--json"])
        assert json.loads(inspected.output)["schema"] == schema

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"schema": SCHEMA + 1}, f"schema {SCHEMA + 1}, and .* up to {SCHEMA}: a newer .* Fix: update lits-deploy"),
            ({"schema": 0}, "schema 0, which never was one"),
            ({"schema": None}, "schema"),
            ({"surprise": 1}, r"does not know \(surprise\): a newer .* Fix: update lits-deploy"),
        ],
    )
    def test_what_is_newer_or_never_was_is_one_line(self, tmp_path: Path, change: dict[str, object], says: str) -> None:
        bundle = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56)
        write_raw_manifest(bundle.folder, json.dumps({**bundle.manifest.to_json(), **change}))
        with pytest.raises(BundleError, match=says) as caught:
            Bundle.open(bundle.folder)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("where", ["contract", "artifacts"])
    def test_a_field_that_could_change_answers_is_not_passed_over(self, tmp_path: Path, where: str) -> None:
        bundle = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56)
        values = bundle.manifest.to_json()
        (values[where] if where == "contract" else values[where][0])["gamma"] = 2.0
        write_raw_manifest(bundle.folder, json.dumps(values))
        with pytest.raises(BundleError, match=rf"does not know \({where}.*gamma\).*update lits-deploy"):
            Bundle.open(bundle.folder)

    def test_a_newer_bundle_in_a_zip_asks_for_an_update_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bundle = make_tiny_bundle(tmp_path / "bundle", size=64, crop=56)
        packed = pack(bundle.folder, tmp_path / "new.zip")
        monkeypatch.setattr("lits_deploy.manifest_history.SCHEMA", SCHEMA - 1)
        with pytest.raises(BundleError, match=r"newer lits-deploy made it\. Fix: update lits-deploy$"):
            unpack(packed, tmp_path / "again")

    def test_the_fields_that_are_known_are_those_that_are_written(self) -> None:
        for kind, known in (
            (Manifest, {*_MANIFEST} - {"contract_sha256"}),
            (Artifact, {*_ARTIFACT}),
            (InputContract, {*_CONTRACT}),
        ):
            assert {field.name for field in dataclasses.fields(kind)} == known

    def test_a_future_schema_is_a_step_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Steps follow each other: a bundle of schema 1 takes all of them."""
        from lits_deploy import manifest_history

        def more(values: dict[str, object]) -> dict[str, object]:
            return {**values, "artifacts": [{**one, "more": True} for one in values["artifacts"]]}  # type: ignore[attr-defined]

        step = manifest_history.Step(values=more, unknown="x")
        monkeypatch.setattr(manifest_history, "SCHEMA", SCHEMA + 1)
        monkeypatch.setattr(manifest_history, "STEPS", {**STEPS, SCHEMA: step})
        values = manifest_history.todays(json.loads((RELEASED / "bundle-1/manifest.json").read_bytes()))
        assert values["schema"] == SCHEMA + 1
        artifacts = [(one["temperature"], one["operating_point"], one["more"]) for one in values["artifacts"]]
        assert artifacts == [(1.5, "argmax", True)]
        assert len(manifest_history.unknown_since(1)) == SCHEMA


class TestUpgrade:
    def test_bytes_stay_and_the_manifest_says_what_it_was(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        old = Bundle.open(RELEASED / "bundle-1")
        said = CliRunner().invoke(app, ["bundle", "upgrade", str(old.folder), "--out", str(tmp_path / "new")])
        assert said.exit_code == 0, said.output
        assert f"schema 1 → {SCHEMA}" in said.output
        assert "is not known" in " ".join(said.output.split())
        new = Bundle.open(tmp_path / "new")
        assert (new.schema, new.problems()) == (SCHEMA, [])
        for name in ("model.onnx", "golden.npz", "README.md"):
            assert (new.folder / name).read_bytes() == (old.folder / name).read_bytes()
        (step,) = new.manifest.export["upgraded"]
        assert (step["from_schema"], step["manifest_sha256"]) == (1, old.sha256)
        assert dataclasses.replace(new.manifest, export=old.manifest.export) == old.manifest
        packed = pack(old.folder, tmp_path / "old.zip")
        assert upgrade(packed, tmp_path / "again").sha256 == new.sha256
        assert {path.name for path in tmp_path.iterdir()} == {"new", "again", "old.zip"}
        page = CliRunner().invoke(app, ["bundle", "inspect", str(new.folder)]).output
        assert f"upgraded from schema 1 (bundle {old.sha256[:12]})" in page

    def test_nothing_to_upgrade_is_one_line_and_writes_nothing(self, tmp_path: Path) -> None:
        said = CliRunner().invoke(app, ["bundle", "upgrade", str(BUNDLES[-1]), "--out", str(tmp_path / "new")])
        assert isinstance(said.exception, BundleError)
        assert f"today's schema ({SCHEMA}): nothing to upgrade" in str(said.exception)
        assert list(tmp_path.iterdir()) == []

    def test_what_does_not_hold_is_not_upgraded(self, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        bundle = Path(shutil.copytree(RELEASED / "bundle-1", tmp_path / "bundle"))
        values = json.loads((bundle / "manifest.json").read_bytes())
        values["artifacts"][0]["tolerance"] = -1.0  # its goldens fail
        write_raw_manifest(bundle, json.dumps(values))
        with pytest.raises(BundleError, match="does not hold here, so it is not upgraded"):
            upgrade(bundle, tmp_path / "new")
        (bundle / "README.md").write_text("another card")
        with pytest.raises(BundleError, match=r"README\.md was altered"):
            upgrade(bundle, tmp_path / "new")
        assert [path.name for path in tmp_path.iterdir()] == ["bundle"]

    def test_it_is_written_only_if_the_new_one_holds_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("onnxruntime")
        monkeypatch.setattr(
            "lits_deploy.upgrade.write_manifest",
            lambda folder, manifest: write_raw_manifest(
                folder, json.dumps({**manifest.to_json(), "files": dict.fromkeys(manifest.files, "0" * 64)})
            ),
        )
        with pytest.raises(BundleError, match="today's schema, so that is not written"):
            upgrade(RELEASED / "bundle-1", tmp_path / "new")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["there", "bundle/inside"])
    def test_where_it_may_not_go(self, tmp_path: Path, name: str) -> None:
        bundle = Path(shutil.copytree(RELEASED / "bundle-1", tmp_path / "bundle"))
        (tmp_path / "there").mkdir()
        with pytest.raises(OutputError, match=r"exists already|inside the bundle"):
            upgrade(bundle, tmp_path / name)
        assert Bundle.open(bundle).problems() == []


class TestOutputs:
    @pytest.mark.parametrize("number", [3, 4])
    def test_an_older_ledger_is_one_line_that_names_the_fix_and_stays(self, number: int, tmp_path: Path) -> None:
        out = out_of(f"out-{number}", tmp_path / "out")
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        line = (
            rf"^The ledger .* is of an older lits-deploy \(schema {number}; this one reads 7\).* "
            r"Fix: .*--overwrite \(all is done again, pseudonyms stay\).*$"
        )
        calls: tuple[Callable[[], object], ...] = (lambda: Ledger(out), lambda: redraw(out))
        for call in calls:
            with pytest.raises(OutputError, match=line):
                call()
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before

    @pytest.mark.parametrize("apart", [False, True], ids=["in OUT", "--ledger apart"])
    def test_overwrite_keeps_the_pseudonyms(self, apart: bool, scans: Path, tmp_path: Path) -> None:
        ledger = tmp_path / "ledger" if apart else None
        out = out_of("out-3", tmp_path / "out", ledger=ledger)
        before = pseudonyms(out)
        summary = classify(Bundle.open(RELEASED / "bundle-2"), scans, out, salt=None, ledger=ledger, overwrite=True)
        assert (summary.now, summary.warnings) == (6, ())
        # Schema 3 named a DICOM series by all that its header said, so that names depended on how exporters round.
        after = pseudonyms(out)
        assert {path: names[0] for path, names in after.items()} == {path: names[0] for path, names in before.items()}
        for path, (_, series) in before.items():
            assert (after[path][1] == series) is path.startswith("pictures"), path
        assert len(set(before.values())) == len(set(after.values())) == 3

    def test_a_ledger_folder_that_is_not_named_again_is_asked_for(self, scans: Path, tmp_path: Path) -> None:
        out = out_of("out-3", tmp_path / "out", ledger=tmp_path / "ledger")
        fix = "Fix: the --ledger that it was made with: its salt lies there"
        with pytest.raises(OutputError, match=fix), OutputFolder(out):
            pass
        summary = classify(Bundle.open(RELEASED / "bundle-2"), scans, out, salt=None, overwrite=True)
        assert "Pseudonyms are new" in summary.warnings[0]
        with OutputFolder(out, overwrite=True) as output:  # now a salt lies here
            assert not output.salt_left_behind

    @pytest.mark.parametrize("number", [5, 6])
    def test_an_earlier_ledger_goes_on(self, number: int, tmp_path: Path) -> None:
        """Its answers stay as they are; what is answered from now on has a look, and a pair's second answer."""
        out = out_of(f"out-{number}", tmp_path / "out")
        then = (out / FILE_NAME).read_bytes()
        assert examine(out / FILE_NAME) is None
        assert (out / FILE_NAME).read_bytes() == then
        db = sqlite3.connect(out / FILE_NAME)
        files = [ScanRecord(path, size, mtime, kind="picture") for path, size, mtime in db.execute(_FILES)]
        ctimes = dict(db.execute("SELECT path, ctime_ns FROM file JOIN ctime ON ctime.file = id"))
        db.close()
        found = [dataclasses.replace(file, ctime_ns=ctimes[file.path]) for file in files]
        with Ledger(out) as ledger:
            before = list(ledger.rows())
            ledger.stage(found)
            assert ledger.adopt(ledger.identity or {}, ledger.base or "").pending == 0
            assert list(ledger.rows()) == before
        with Ledger(out) as ledger:
            ledger.stage([dataclasses.replace(found[0], mtime_ns=1), *found[1:]])
            assert ledger.adopt(ledger.identity or {}, ledger.base or "").pending == 1
            (again,) = ledger.pending(9)
            look, second = packed(tuple(range(len(GREY)))), SecondRow(40, None, -1.5)
            ledger.record(
                [SliceRow(again.file, 0, OK, None, 1, 0.2, 0.5, 0.3, look=look, second=second)],
                [FileRow(again.file, OK, None, "ab", "w", None)],
            )
            ledger.check()
        assert examine(out / FILE_NAME) is None
        with Ledger(out) as ledger:
            ledger.check()
            (row,) = (row for row in ledger.rows_by_volume() if row.path == again.path)
            assert (row.look, (row.liver, row.tumour, row.log_odds)) == (look, second)
            assert [row.log_odds for row in ledger.rows()].count(None) == 5

    @pytest.mark.parametrize("number", [5, 6, 7])
    def test_todays_ledger_is_drawn_from_again(self, number: int, tmp_path: Path) -> None:
        out = out_of(f"out-{number}", tmp_path / "out")
        then = rows(out)
        redraw(out)
        assert [(row["path"], row["p2"], row["series"], row["run_id"]) for row in rows(out)] == [
            (row["path"], row["p2"], row["series"], row["run_id"]) for row in then
        ]

    @pytest.mark.parametrize("folder", OUTS, ids=lambda folder: folder.name)
    def test_every_run_json_is_read(self, folder: Path) -> None:
        run = read_run_json(folder / "run.json")
        assert (run["schema"], run["counts"]["slices"], run["model"]) == (3, 6, "tiny")
        assert (run["counts"]["abstained"], run["counts"]["excluded"], run["counts"]["excluded_reasons"]) == (3, 0, {})
        counted = (None, None) if folder.name == "out-3" else (6, 0)
        assert (run["added"], run["removed"], run["exit_code"], run["ended"]) == (*counted, None, None)
        assert not {"files_added", "files_removed"} & run["counts"].keys()
        assert run["tables_schema"] == {"out-5": 2, "out-6": 2, "out-7": 3}.get(folder.name, 1)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('{"schema": 4}', r"schema 4, and lits-deploy .* up to 3\. Fix: update"),
            ('{"schema": true}', "no record of a run"),
            ("[]", "no record of a run"),
            ("{", "not JSON"),
            ("[" * 100_000, "not JSON"),
            (None, "cannot be read"),
        ],
    )
    def test_another_run_json_is_one_line(self, tmp_path: Path, text: str | None, says: str) -> None:
        if text is not None:
            (tmp_path / "run.json").write_text(text)
        with pytest.raises(OutputError, match=says) as caught:
            read_run_json(tmp_path / "run.json")
        assert "\n" not in str(caught.value)
