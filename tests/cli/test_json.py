"""`--json` of every command: one document on standard output and nothing else; of a command that fails, nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmark_documents import document, row
from command_tree import all_commands
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import run
from lits_deploy.packing import pack
from lits_deploy.program import outcome
from lits_deploy.run_json import SCHEMA
from lits_sources import noise_patient, write_lits
from looks import night, people
from pair_parts import make_pair_parts
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle
from tiny_data import make_tiny_data
from tiny_unet import make_tiny_unet
from worlds import SIZE, Series

pytest.importorskip("torch")

WITHOUT = {"watch", "demo"}
"""One prints a line per study until it is stopped; the other runs commands and shows what they print."""

RELEASED = Path(__file__).parents[1] / "released"
ON_CPU = "--runtime onnxruntime --device cpu"


class Case(NamedTuple):
    """line: the command line, in the folder of `home`. holds: of its document. needs: cases that come before."""

    line: str
    holds: Callable[[Any], Any]
    code: int = 0
    needs: tuple[str, ...] = ()


def _of_run(out: Any) -> bool:
    """Of classify, segment and merge: run.json, and where the files lie."""
    record = json.loads(Path(out["out"], "run.json").read_text())
    assert out["run"] == record
    assert record["schema"] == SCHEMA
    assert all(Path(path).exists() for path in out["files"])
    return f"{out['out']}/run.json" in out["files"]


CASES = {
    "models": Case("models", lambda out: {one["name"] for one in out} >= {"alexnet", "unet"}),
    "data phantom": Case(
        "data phantom volumes --layout nifti --patients 1 --workers 1",
        lambda out: out["out"] == "volumes" and len(out["patients"]) == 1,
    ),
    "data prepare": Case(
        "data prepare raw prepared --layout lits --window -40 160 --workers 1",
        lambda out: (out["prepared"], out["failed"]) == (3, [["2", "there is no segmentation-2.nii"]]),
        code=1,
    ),
    "data check": Case("data check data --workers 1", lambda out: out["slices"] == 16 and out["errors"] == 1, code=1),
    "train": Case(
        "train --data data --out run --model unet --width 2 --size 64 --epochs 1 --batch-size 4 --device cpu",
        lambda out: out["run"] == "run" and len(out["figures"]["dice"]) == 3,
    ),
    "train folds": Case(
        "train --data data --out folded --folds 2 --model unet --width 2 --size 64 --epochs 1 --batch-size 4",
        lambda out: [one["fold"] for one in out["folds"]] == [1, 2] and out["figures"]["slices"] == 12,
    ),
    "export": Case(
        "export run --fp16",
        lambda out: out["path"] == "run-bundle" and out["bundle"] == Bundle.open(Path("run-bundle")).sha256,
        needs=("train",),
    ),
    "reproduce table1": Case(
        "reproduce table1 --data data --out again",
        lambda out: [one["id"] for one in out["results"]] == ["table1"] and Path(out["page"]).is_file(),
    ),
    "reproduce list": Case("reproduce list", lambda out: {"id", "summary", "trains"} == set(out[0])),
    "reproduce report": Case(
        "reproduce report again", lambda out: out["page"] == "again/report.html", needs=("reproduce table1",)
    ),
    "evaluate": Case("evaluate bundle --data data", lambda out: out["figures"]["accuracy"]["value"] is not None),
    "bundle inspect": Case("bundle inspect bundle", lambda out: out["whole"] is True),
    "bundle pair": Case(
        "bundle pair parts/classifier parts/unet --runs RUNS --out paired",
        lambda out: out["path"] == "paired" and out["manifest"]["segmenter"] is not None,
    ),
    "bundle pack": Case("bundle pack bundle --out one.zip", lambda out: Path("one.zip").stat().st_size == out["bytes"]),
    "bundle unpack": Case("bundle unpack packed.zip --out unpacked", lambda out: out["path"] == "unpacked"),
    "bundle upgrade": Case(
        "bundle upgrade old --out new", lambda out: out["manifest"]["export"]["upgraded"][0]["from_schema"] == 1
    ),
    "verify": Case("verify bundle", lambda out: out["holds"] is True),
    "scan": Case("scan scans", lambda out: out["slices"] == 6),
    "classify": Case(
        f"classify bundle scans --out classified {ON_CPU}",
        lambda out: _of_run(out) and out["run"]["counts"]["slices"] == 6 and out["run"]["exit_code"] == 0,
    ),
    "classify, a file failed": Case(
        f"classify bundle broken --out failed {ON_CPU}",
        lambda out: _of_run(out) and out["run"]["exit_code"] == 1 and out["run"]["counts"]["failed"] == 1,
        code=1,
    ),
    "classify, several": Case(
        "classify bundle scans --out spread --devices cpu:1 --runtime onnxruntime",
        lambda out: _of_run(out) and out["spread"]["failed"] == {} and out["run"]["merged"]["missing"] == [],
    ),
    "classify, a shard": Case(
        f"classify bundle --job job --shard 0 --salt-file salt {ON_CPU}",
        lambda out: (out["state"], out["counts"]["slices"]) == ("published", 6),
        needs=("plan",),
    ),
    "segment": Case(
        f"segment unet series --out segmented --masks nifti {ON_CPU}",
        lambda out: _of_run(out) and out["masks"]["files"] == {"nifti": 1} and out["masks"]["written"],
    ),
    "plan": Case(
        "plan bundle scans --out job --salt-file salt", lambda out: out["job"].endswith("job") and out["slices"] == 6
    ),
    "merge": Case(
        "merge job --out merged --salt-file salt",
        lambda out: _of_run(out) and out["failures"] == {} and out["run"]["counts"]["slices"] == 6,
        needs=("plan", "classify, a shard"),
    ),
    "drift": Case("drift usual", lambda out: out["disclaimer"] == DISCLAIMER),
    "report": Case(
        "report classified --format jsonl",
        lambda out: "classified/report.html" in out["files"] and "classified/slices.jsonl" in out["files"],
        needs=("classify",),
    ),
    "doctor": Case("doctor", lambda out: "onnxruntime" in str(out["working"])),
    "benchmark run": Case(
        "benchmark bundle --data data --batch-sizes 1 --scenario single-stream --quick",
        lambda out: out["rows"][0]["error"] is None,
    ),
    "benchmark compare": Case("benchmark compare before.json before.json", lambda out: out["passed"] is True),
    "benchmark page": Case(
        "benchmark page benchmark-bundle", lambda out: out["page"] == "benchmarks.html", needs=("benchmark run",)
    ),
    "choose": Case("choose bundle --batch-sizes 1 --quick", lambda out: out["chosen"] == 0),
}

FAIL = {
    "data phantom": "data phantom none --patients 2",
    "data prepare": "data prepare none prepared-2 --layout lits --window -40 160",
    "data check": "data check none",
    "train": "train --data none --out run-2",
    "export": "export none",
    "reproduce table1": "reproduce table1 --data none --out other",
    "reproduce report": "reproduce report none",
    "evaluate": "evaluate none --data data",
    "bundle inspect": "bundle inspect none",
    "bundle pair": "bundle pair none none --runs a b --out c",
    "bundle pack": "bundle pack none",
    "bundle unpack": "bundle unpack none.zip",
    "bundle upgrade": "bundle upgrade bundle --out same",
    "scan": "scan none",
    "classify": "classify none scans",
    "segment": "segment bundle scans --out wrong",
    "plan": "plan none scans --out job-2",
    "merge": "merge none",
    "drift": "drift none",
    "report": "report none",
    "benchmark run": "benchmark none",
    "benchmark compare": "benchmark compare none none",
    "benchmark page": "benchmark page none",
    "choose": "choose none",
}
"""What ends with an error, by command. `models`, `reproduce list` and `doctor` take nothing that could be wrong, and
`verify` answers what is no bundle with a document."""


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Home:
    """A folder with all that the cases are about. Each of them is run once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._said: dict[str, Said] = {}
        make_tiny_bundle(folder / "bundle", size=SIZE, crop=SIZE * 7 // 8)
        make_tiny_unet(folder / "unet", size=SIZE)
        pack(Bundle.open(folder / "bundle").folder, folder / "packed.zip")
        shutil.copytree(RELEASED / "bundle-1", folder / "old")
        folder_of_slices(folder / "scans", 6, size=SIZE)
        shutil.copytree(folder / "scans", folder / "broken")
        next(path for path in sorted((folder / "broken").rglob("*")) if path.is_file()).write_bytes(
            b"\x89PNG\r\n\x1a\nx"
        )
        Series(name="ct", count=4, step=2.0).write(folder / "series")
        make_tiny_data(folder / "data", window=[-40, 160])
        raw = write_lits(folder / "raw", [noise_patient(number) for number in range(4)])
        (raw / "Training Batch 1" / "segmentation-2.nii").unlink()
        (folder / "before.json").write_text(json.dumps(document(row(1))))
        night(folder / "usual", range(100, 112), reference=people())
        self.parts = make_pair_parts(folder / "parts")

    def say(self, name: str, capfd: pytest.CaptureFixture[str]) -> Said:
        """What a case prints, once those that it needs were there."""
        if name not in self._said:
            case = CASES[name]
            for need in case.needs:
                self.say(need, capfd)
            self._said[name] = self.run(f"{case.line} --json", capfd)
        return self._said[name]

    def run(self, text: str, capfd: pytest.CaptureFixture[str]) -> Said:
        parts = {"RUNS": self.parts.runs, "parts/classifier": [self.parts.classifier.folder]}
        parts["parts/unet"] = [self.parts.unet.folder]
        arguments = [str(one) for word in text.split() for one in parts.get(word, [word])]
        capfd.readouterr()
        code = outcome(lambda: run(arguments))
        return Said(code, *capfd.readouterr())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def there(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.folder)


def test_every_command_has_it_and_a_case() -> None:
    every = all_commands()
    has = {names for names, command in every.items() if any("--json" in one.opts for one in command.params)}
    assert set(every) - has == WITHOUT
    recipes = {names for names in has if names.startswith("reproduce ")} - set(CASES)
    assert {name.partition(",")[0] for name in CASES} - {"train folds"} == has - recipes
    assert set(FAIL) == (set(CASES) & has) - {"models", "reproduce list", "doctor", "verify"}


@pytest.mark.parametrize("name", CASES)
def test_standard_output_is_one_document(name: str, home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    said = home.say(name, capfd)
    assert said.code == CASES[name].code, said.err
    out = json.loads(said.out)
    assert CASES[name].holds(out), out
    assert "Traceback" not in said.err
    assert "next:" not in said.err


@pytest.mark.parametrize("name", FAIL)
def test_a_command_that_fails_says_so_on_standard_error_alone(
    name: str, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    said = home.run(f"{FAIL[name]} --json", capfd)
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-1].startswith("error: ")
    assert " Fix: " in said.err.splitlines()[-1]


def test_a_bundle_that_does_not_hold_is_a_document_and_3(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("bundle", "damaged")
    with Path("damaged/model.onnx").open("ab") as stream:
        stream.write(b"x")
    said = home.run("verify damaged --json", capfd)
    assert said.code == 3
    assert json.loads(said.out)["holds"] is False


def test_lines_of_a_command_leave_standard_error_to_a_log(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a log they are there; `--quiet` has errors alone."""
    drawn = home.run("reproduce table1 --data data --out lines --json", capfd)
    assert "table1: Slices of each split and class." in drawn.err
    logged = home.run("reproduce table1 --data data --out logged --log-format json --json", capfd)
    assert {"start", "end"} <= {json.loads(line)["event"] for line in logged.err.splitlines()}
    quiet = home.run("reproduce table1 --data data --out quiet --quiet --json", capfd)
    assert quiet.err == ""
    assert all(json.loads(one.out)["results"][0]["id"] == "table1" for one in (drawn, logged, quiet))
