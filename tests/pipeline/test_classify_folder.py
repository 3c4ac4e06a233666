"""A whole folder run on a fake network: rows, resume, identity, independence of batch size and workers."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_runtime import FakeRuntime
from folder_runs import SALT, SIZE, classify, outcome, rows
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, ContractError, OutputError, UserError
from lits_deploy.ledger import FileCounts, Ledger
from lits_deploy.pipeline.options import ClassifyOptions, Progress
from lits_deploy.pipeline.run import run_folder
from lits_deploy.pipeline.stop import Stop
from lits_deploy.report.redraw import redraw
from lits_deploy.runtime.base import Batch, Outputs, RuntimeInfo
from lits_deploy.scans import Reading
from lits_deploy.scans.image import load_slice
from pictures import encoded, folder_of_slices, grey_pixels, png_header, save
from tiny_bundle import make_tiny_bundle, with_manifest


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return folder_of_slices(tmp_path / "scans", 21, size=SIZE)


def test_rows_hold_what_the_network_says_of_these_pixels(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    summary = classify(bundle, scans, tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [row["path"] for row in found] == sorted(p.relative_to(scans).as_posix() for p in scans.rglob("*.*"))
    network = FakeRuntime(shape=(1, SIZE, SIZE))
    for row in found:
        outputs = network.infer(load_slice(scans / row["path"], bundle.manifest.contract)[np.newaxis])
        assert outputs.probabilities is not None
        assert [float(row[f"p{i}"]) for i in range(3)] == pytest.approx(outputs.probabilities[0].tolist(), abs=1e-6)
        assert int(row["label"]) == outputs.probabilities[0].argmax()
        assert row["window"] == "unverified"
    assert summary.slices == summary.files == 21
    assert sum(summary.classes.values()) == 21
    assert not summary.failed
    assert found[0]["bundle"] == bundle.sha256[:12]
    assert found[0]["model"] == "tiny"
    assert found[0]["run_id"] == summary.run_id


def test_the_bundles_own_network_and_temperature_are_used(scans: Path, tmp_path: Path) -> None:
    results = {}
    for temperature in (1.0, 2.0):
        bundle = make_tiny_bundle(tmp_path / f"bundle-{temperature}", temperature=temperature, size=SIZE, crop=56)
        out = tmp_path / f"out-{temperature}"
        summary = run_folder(bundle, [scans], out)
        assert summary.device == "cpu"
        results[temperature] = [[float(row[f"p{i}"]) for i in range(3)] for row in rows(out)]
    sharp, soft = np.sqrt(np.array(results[1.0])), np.array(results[2.0])
    np.testing.assert_allclose(soft, sharp / sharp.sum(axis=1, keepdims=True), atol=2e-5)


def test_tables_do_not_depend_on_batch_size_and_workers(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    (scans / "empty.png").write_bytes(b"")
    tables = set()
    for number, (batch, workers) in enumerate([(1, 1), (4, 2), (32, 3)]):
        out = tmp_path / f"out{number}"
        run_folder(bundle, [scans], out, options=ClassifyOptions(batch_size=batch, workers=workers, salt=SALT))
        tables.add((out / "slices.csv").read_bytes())
    assert len(tables) == 1


def test_bad_files_are_rows(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    (scans / "zero.png").write_bytes(b"")
    (scans / "bomb.png").write_bytes(png_header(60000, 60000))
    (scans / "text.jpg").write_bytes(b"hello")
    (scans / "cut.png").write_bytes(encoded(grey_pixels(SIZE))[:-100])
    (scans / "broken.png").symlink_to("nowhere")
    (scans / "readme.txt").write_text("no scan")
    summary = classify(bundle, scans, tmp_path / "out")
    bad = {path: reason for path, reason in outcome(tmp_path / "out").items() if reason != "ok"}
    assert bad == {
        "zero.png": "the file is empty",
        "bomb.png": "more than 64 megapixels: a decompression bomb?",
        "text.jpg": "the content is neither PNG nor JPEG",
        "cut.png": "the PNG is truncated",
        "broken.png": "the file cannot be read (no such file or directory)",
    }
    assert (summary.failed, summary.slices, summary.others) == (5, 21, {".txt": 1})


def test_files_of_one_name_in_two_folders_stay_two_rows(bundle: Bundle, tmp_path: Path) -> None:
    for number, folder in enumerate("ab"):
        save(tmp_path / "scans" / folder / "IM0001.png", grey_pixels(SIZE, number))
    classify(bundle, [tmp_path / "scans/a", tmp_path / "scans/b"], tmp_path / "out")
    found = rows(tmp_path / "out")
    assert [row["path"] for row in found] == ["a/IM0001.png", "b/IM0001.png"]
    assert found[0]["sha256"] != found[1]["sha256"]


def test_names_that_are_not_utf8_are_classified(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in (b"caf\xe9.png", b"two\nlines.png", b"back\\slash.png", "Ünïcode 患者.png".encode()):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(encoded(grey_pixels(SIZE)))
    summary = classify(bundle, folder, tmp_path / "out", formats=("csv", "parquet", "jsonl"))
    assert not summary.failed
    assert set(outcome(tmp_path / "out")) == {
        "caf\\xe9.png",
        "two\\x0alines.png",
        "back\\\\slash.png",
        "Ünïcode 患者.png",
    }


def test_stopped_and_started_again_the_tables_are_those_of_an_undisturbed_run(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    kinds = ("csv", "parquet", "jsonl")
    classify(bundle, scans, tmp_path / "undisturbed", formats=kinds)
    network = FakeRuntime(shape=(1, SIZE, SIZE), seconds_per_batch=0.12)  # longer than between two progress calls
    seen: list[int] = []
    for _ in range(100):
        stop = Stop()
        summary = classify(
            bundle,
            scans,
            tmp_path / "out",
            network=network,
            formats=kinds,
            batch_size=2,
            stop=stop,
            on_progress=partial(stop_at_first_slice, stop),
        )
        seen.append(summary.files)
        assert len(rows(tmp_path / "out")) == summary.files
        if not summary.stopped:
            break
        assert summary.missing == 21 - summary.files
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert summary.resumed
    for kind in kinds:
        name = f"slices.{kind}"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def stop_at_first_slice(stop: Stop, progress: Progress) -> None:
    if progress.slices:
        stop.request()


def test_a_finished_run_does_nothing_again_but_follows_the_disk(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (scans / "bad.png").write_bytes(b"")
    first = classify(bundle, scans, out)
    again = classify(bundle, scans, out)
    assert (again.now, again.resumed, again.slices, again.failed) == (0, True, 21, 1)
    assert again.run_id == first.run_id

    save(scans / "study-0/slice-0000.jpg", grey_pixels(SIZE, 99))  # changed
    (scans / "study-0/slice-0002.jpg").unlink()
    save(scans / "new.png", grey_pixels(SIZE, 100))
    (scans / "bad.png").write_bytes(encoded(grey_pixels(SIZE, 101)))  # mended
    third = classify(bundle, scans, out)
    assert (third.now, third.slices, third.failed) == (3, 22, 0)
    classify(bundle, scans, tmp_path / "fresh")
    assert (out / "slices.csv").read_bytes() == (tmp_path / "fresh/slices.csv").read_bytes()


def test_failed_files_are_tried_again_only_when_asked(bundle: Bundle, tmp_path: Path) -> None:
    from folder_runs import tricks

    folder, out = tricks(tmp_path / "scans", a="grey 3", b="hang"), tmp_path / "out"
    assert classify(bundle, folder, out, time_limit_s=0.3).failed == 1
    assert classify(bundle, folder, out).failed == 1  # or it would hang for 30 s
    assert classify(bundle, folder, out, retry_failed=True, time_limit_s=0.4).reasons == {
        "decoding took longer than 0.4 s": 1
    }


def test_another_run_in_the_output_folder_is_refused(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    classify(bundle, scans, out)
    before = (out / "slices.csv").read_bytes()
    other = make_tiny_bundle(tmp_path / "other", size=SIZE, crop=56, temperature=3.0)
    with pytest.raises(OutputError, match=f"bundle {bundle.sha256[:12]} there, {other.sha256[:12]} now.*--overwrite"):
        classify(other, scans, out)
    with pytest.raises(OutputError, match="runtime fake there, onnxruntime now"):
        run_folder(bundle, [scans], out, options=ClassifyOptions(runtime="onnxruntime"))
    with pytest.raises(OutputError, match=r"other SCANS"):
        classify(bundle, scans / "study-0", out)
    assert (out / "slices.csv").read_bytes() == before
    assert classify(bundle, scans, out).now == 0  # nothing was lost
    assert classify(other, scans, out, overwrite=True).now == 21


def test_results_without_a_ledger_are_someone_elses(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/slices.csv").write_text("mine")
    (tmp_path / "out/other.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"slices\.csv"):
        classify(bundle, scans, tmp_path / "out")
    assert (tmp_path / "out/slices.csv").read_text() == "mine"
    classify(bundle, scans, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/other.txt").read_text() == "mine"


def test_a_second_run_at_the_same_time_is_refused(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def another(progress: Progress) -> None:
        if not refused:
            with pytest.raises(OutputError) as caught:
                classify(bundle, scans, tmp_path / "out")
            refused.append(str(caught.value))

    classify(bundle, scans, tmp_path / "out", on_progress=another)
    assert refused
    assert "Another lits-deploy is writing" in refused[0]


@pytest.mark.parametrize("problem", ["nothing", "missing", "device", "artifact", "runtime", "format"])
def test_a_run_that_cannot_start_leaves_nothing_behind(
    bundle: Bundle, scans: Path, tmp_path: Path, problem: str
) -> None:
    root = {"nothing": tmp_path / "empty", "missing": tmp_path / "nowhere"}.get(problem, scans)
    (tmp_path / "empty").mkdir()
    asked = {"device": "cuda:63", "artifact": "int3", "runtime": "abacus"}
    if problem == "format":
        with pytest.raises(UserError, match="csv, parquet, jsonl"):
            ClassifyOptions(formats=("xls",))
        return
    options = ClassifyOptions(**{problem: asked[problem]}) if problem in asked else None  # type: ignore[arg-type]
    expected = {
        "nothing": r"No scans in .*empty: looked for DICOM",
        "missing": "There is no .*nowhere",
        "device": "cuda:63",
        "artifact": "no artifact `int3`",
        "runtime": "`abacus` is not a runtime",
    }
    with pytest.raises(UserError, match=expected[problem]):
        run_folder(bundle, [root], tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


def test_a_bundle_is_never_written_to(bundle: Bundle, scans: Path) -> None:
    for out in (bundle.folder, bundle.folder / "results"):
        with pytest.raises(OutputError, match="lies in the bundle"):
            classify(bundle, scans, out)
    assert not bundle.problems()


def test_halves_of_tables_that_a_killed_run_left_are_taken_away(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    classify(bundle, scans, tmp_path / "out")
    (tmp_path / "out/.slices.csv.123.tmp").write_text("half")
    (tmp_path / "out/.other.tmp").write_text("someone's")
    classify(bundle, scans, tmp_path / "out")
    assert not (tmp_path / "out/.slices.csv.123.tmp").exists()
    assert (tmp_path / "out/.other.tmp").exists()


def test_only_classifiers_of_three_classes_are_taken(scans: Path, tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "unet", size=SIZE, crop=None, task="segment")
    with pytest.raises(BundleError, match="segments"):
        classify(bundle, scans, tmp_path / "out")
    bundle = make_tiny_bundle(tmp_path / "classes", size=SIZE, crop=56)
    bundle = with_manifest(bundle, contract=dataclasses.replace(bundle.manifest.contract, classes=("no", "yes")))
    with pytest.raises(ContractError, match="three classes"):
        classify(bundle, scans, tmp_path / "out")


def test_out_of_device_memory_halves_the_batch_and_says_so(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    network = FakeRuntime(shape=(1, SIZE, SIZE), memory_for=3)
    summary = classify(bundle, scans, tmp_path / "out", network=network, batch_size=8)
    assert (summary.slices, summary.failed) == (21, 0)
    assert set(network.batches) <= {1, 2}
    assert summary.warnings == ("The device was short of memory: batches of 2 from then on.",)
    classify(bundle, scans, tmp_path / "plenty")
    assert (tmp_path / "out/slices.csv").read_bytes() == (tmp_path / "plenty/slices.csv").read_bytes()


def test_an_answer_that_is_no_number_is_a_failed_row(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    class Overflowing(FakeRuntime):
        def _infer(self, batch: Batch) -> Outputs:
            outputs = super()._infer(batch)
            assert outputs.logits is not None
            outputs.logits[0, 1] = np.nan
            return outputs

    summary = classify(bundle, scans, tmp_path / "out", network=Overflowing(shape=(1, SIZE, SIZE)), batch_size=21)
    assert summary.reasons == {"the network's answer is not a finite number": 1}
    assert (summary.slices, summary.failed) == (20, 1)


def test_a_network_that_breaks_ends_the_run_and_the_next_one_goes_on(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    class Breaking(FakeRuntime):
        def _infer(self, batch: Batch) -> Outputs:
            if len(self.batches) == 3:
                raise RuntimeError("the driver is gone")
            return super()._infer(batch)

    with pytest.raises(RuntimeError, match="driver"):
        classify(bundle, scans, tmp_path / "out", network=Breaking(shape=(1, SIZE, SIZE)), batch_size=4)
    summary = classify(bundle, scans, tmp_path / "out")
    assert (summary.now, summary.slices) == (9, 21)


def test_run_json_says_what_ran_and_how_long(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    (scans / "bad.png").write_bytes(b"")
    summary = classify(bundle, scans, tmp_path / "out", formats=("csv", "jsonl"))
    record = json.loads(summary.run_json.read_text())
    assert record["run_id"] == summary.run_id
    assert record["disclaimer"] == DISCLAIMER
    assert record["identity"]["bundle"] == bundle.sha256
    assert record["identity"]["contract"] == bundle.manifest.contract.sha256
    assert record["runtime"]["providers"] == ["fake"]
    assert {"lits-deploy", "python", "numpy", "pillow", "fake"} <= set(record["versions"])
    assert record["counts"]["slices"] == 21
    assert record["counts"]["reasons"] == {"the file is empty": 1}
    assert record["tables"] == ["slices.csv", "studies.csv", "slices.jsonl", "studies.jsonl"]
    assert record["resumed"] is record["stopped"] is False
    stages = record["timings"]["stages"]
    assert set(stages) == {"discover_s", "decode_s", "wait_s", "infer_s", "write_s", "report_s"}
    assert all(seconds >= 0 for seconds in stages.values())
    start = record["timings"]["start_up"]
    assert 0 < start["first_file_s"] <= start["first_result_s"] <= record["timings"]["wall_s"]
    assert record["peak_memory_mib"] > 10


def test_an_update_in_the_middle_of_a_run_leaves_what_was_answered_and_is_reported(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    class Updated(FakeRuntime):
        def describe(self) -> RuntimeInfo:
            return replace(super().describe(), version="1")

    out = tmp_path / "out"
    classify(bundle, scans, out)
    before = rows(out)
    save(scans / "new.png", grey_pixels(SIZE, 50))
    summary = classify(bundle, scans, out, network=Updated(shape=(1, SIZE, SIZE)))
    noted = json.loads(summary.run_json.read_text())["answered_with"]
    assert [(each["versions"]["fake"], each["files"], each["slices"]) for each in noted] == [("0", 21, 21), ("1", 1, 1)]
    assert {"lits-deploy", "numpy", "pydicom", "python-gdcm"} <= set(noted[0]["versions"])
    after = {row["path"]: {**row, "run_id": ""} for row in rows(out)}  # of the list of files
    assert all(after[row["path"]] == {**row, "run_id": ""} for row in before)
    redraw(out)
    page = (out / "report.html").read_text()
    assert "<dt>Answered 21 slices</dt><dd>fake 0</dd>" in page
    assert "<dt>Answered 1 slice</dt><dd>fake 1</dd>" in page


def test_tables_of_an_older_state_are_not_left_lying(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    classify(bundle, scans, tmp_path / "out", formats=("csv", "jsonl"))
    save(scans / "new.png", grey_pixels(SIZE, 50))
    summary = classify(bundle, scans, tmp_path / "out", formats=("csv",))
    assert [table.name for table in summary.tables] == ["slices.csv", "studies.csv", "slices.jsonl", "studies.jsonl"]
    assert len((tmp_path / "out/slices.jsonl").read_text().splitlines()) == 22


def test_the_ledger_may_lie_elsewhere(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    classify(bundle, scans, tmp_path / "out", ledger=tmp_path / "local")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["run.json", "slices.csv", "studies.csv"]
    assert classify(bundle, scans, tmp_path / "out", ledger=tmp_path / "local").now == 0


def test_results_inside_the_scans_are_not_scanned(bundle: Bundle, scans: Path) -> None:
    assert classify(bundle, scans, scans / "results").files == 21
    save(scans / "results/plot.png", grey_pixels(SIZE))
    assert classify(bundle, scans, scans / "results").files == 21


def test_progress_counts_up_to_the_end(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    classify(bundle, scans, tmp_path / "out", on_progress=seen.append)
    assert seen[-1].files == seen[-1].done == seen[-1].slices == 21
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)


def test_asked_to_stop_before_the_first_file_nothing_is_written(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No scans were named"):
        classify(bundle, [], tmp_path / "out")
    stop = Stop()
    stop.request()
    with pytest.raises(KeyboardInterrupt):
        classify(bundle, scans, tmp_path / "out", stop=stop)
    assert not (tmp_path / "out").exists()


def test_it_runs_outside_the_main_thread(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    thread = threading.Thread(target=classify, args=(bundle, scans, tmp_path / "out"))
    thread.start()
    thread.join()
    assert len(rows(tmp_path / "out")) == 21


def test_a_manifest_changed_is_another_bundle(bundle: Bundle, tmp_path: Path) -> None:
    copy = make_tiny_bundle(tmp_path / "copy", size=SIZE, crop=56)
    assert copy.sha256 == bundle.sha256  # equal content, equal identity, wherever it lies
    assert with_manifest(copy, metrics={"test": {"accuracy": 1.0}}).sha256 != bundle.sha256


def test_what_is_decided_of_headers_is_part_of_the_run(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    classify(bundle, scans, tmp_path / "out")
    with pytest.raises(OutputError, match=r"another run \(any_body_part default there, True now"):
        classify(bundle, scans, tmp_path / "out", reading=Reading(any_body_part=True))


def test_a_run_that_is_killed_once_its_files_are_taken_on_goes_on(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt, out, left = Ledger.adopt, tmp_path / "out", tmp_path / "left"

    def adopted(self: Ledger, *arguments: Any, **more: Any) -> FileCounts:
        counts = adopt(self, *arguments, **more)
        shutil.copytree(out, left)  # what a kill would leave at this moment
        return counts

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "adopt", adopted)
        classify(bundle, scans, out)
    assert classify(bundle, scans, left).resumed
    assert (left / "slices.csv").read_bytes() == (out / "slices.csv").read_bytes()


class Engine(FakeRuntime):
    """As TensorRT answers, of an engine with a profile, on a GPU that has room for few slices."""

    profile = "1/2/2"

    def describe(self) -> RuntimeInfo:
        return replace(super().describe(), device="cuda:0", profile=self.profile)


def test_an_engines_profile_is_of_the_runs_identity_and_small_batches_are_reported(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    network = Engine(shape=(1, SIZE, SIZE), max_batch=2)
    summary = classify(bundle, scans, tmp_path / "out", network=network)
    assert max(network.batches) == 2
    assert "cuda:0 has memory for batches of 2: its engine is for 1/2/2 slices." in summary.warnings
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["identity"]["profile"] == run["runtime"]["profile"] == "1/2/2"
    assert run["options"]["batch_size"] == 2
    network.profile = "1/32/64"
    with pytest.raises(OutputError, match="profile 1/2/2 there, 1/32/64 now"):
        classify(bundle, scans, tmp_path / "out", network=network)
    assert "profile" not in json.loads(_run_json(bundle, scans, tmp_path / "cpu"))["identity"]


def _run_json(bundle: Bundle, scans: Path, out: Path) -> str:
    classify(bundle, scans, out)
    return (out / "run.json").read_text()
