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
    """words: the command line, in the folder of `home`. holds: of its document. needs: cases that come before."""

    words: str
    holds: Callable[[Any], Any]
    code: int = 0
    needs: tuple[str, ...] = ()


def _of_run(told: Any) -> bool:
    """Of classify, segment and merge: run.json, and where the files lie."""
    record = json.loads(Path(told["out"], "run.json").read_text())
    assert told["run"] == record
    assert record["schema"] == SCHEMA
    assert all(Path(path).exists() for path in told["files"])
    return f"{told['out']}/run.json" in told["files"]


CASES = {
    "models": Case("models", lambda told: {one["name"] for one in told} >= {"alexnet", "unet"}),
    "data phantom": Case(
        "data phantom volumes --layout nifti --patients 1 --workers 1",
        lambda told: told["out"] == "volumes" and len(told["patients"]) == 1,
    ),
    "data prepare": Case(
        "data prepare raw prepared --layout lits --window -40 160 --workers 1",
        lambda told: (told["prepared"], told["failed"]) == (3, [["2", "there is no segmentation-2.nii"]]),
        code=1,
    ),
    "data check": Case(
        "data check data --workers 1", lambda told: told["slices"] == 16 and told["errors"] == 1, code=1
    ),
    "train": Case(
        "train --data data --out run --model unet --width 2 --size 64 --epochs 1 --batch-size 4 --device cpu",
        lambda told: told["run"] == "run" and len(told["figures"]["dice"]) == 3,
    ),
    "train folds": Case(
        "train --data data --out folded --folds 2 --model unet --width 2 --size 64 --epochs 1 --batch-size 4",
        lambda told: [one["fold"] for one in told["folds"]] == [1, 2] and told["figures"]["slices"] == 12,
    ),
    "export": Case(
        "export run --fp16",
        lambda told: told["path"] == "run-bundle" and told["bundle"] == Bundle.open(Path("run-bundle")).sha256,
        needs=("train",),
    ),
    "reproduce table1": Case(
        "reproduce table1 --data data --out again",
        lambda told: [one["id"] for one in told["results"]] == ["table1"] and Path(told["page"]).is_file(),
    ),
    "reproduce list": Case("reproduce list", lambda told: {"id", "summary", "trains"} == set(told[0])),
    "reproduce report": Case(
        "reproduce report again", lambda told: told["page"] == "again/report.html", needs=("reproduce table1",)
    ),
    "evaluate": Case("evaluate bundle --data data", lambda told: told["figures"]["accuracy"]["value"] is not None),
    "bundle inspect": Case("bundle inspect bundle", lambda told: told["whole"] is True),
    "bundle pair": Case(
        "bundle pair parts/classifier parts/unet --runs RUNS --out paired",
        lambda told: told["path"] == "paired" and told["manifest"]["segmenter"] is not None,
    ),
    "bundle pack": Case(
        "bundle pack bundle --out one.zip", lambda told: Path("one.zip").stat().st_size == told["bytes"]
    ),
    "bundle unpack": Case("bundle unpack packed.zip --out unpacked", lambda told: told["path"] == "unpacked"),
    "bundle upgrade": Case(
        "bundle upgrade old --out new", lambda told: told["manifest"]["export"]["upgraded"][0]["from_schema"] == 1
    ),
    "verify": Case("verify bundle", lambda told: told["holds"] is True),
    "scan": Case("scan scans", lambda told: told["slices"] == 6),
    "classify": Case(
        f"classify bundle scans --out classified {ON_CPU}",
        lambda told: _of_run(told) and told["run"]["counts"]["slices"] == 6 and told["run"]["exit_code"] == 0,
    ),
    "classify, a file failed": Case(
        f"classify bundle broken --out failed {ON_CPU}",
        lambda told: _of_run(told) and told["run"]["exit_code"] == 1 and told["run"]["counts"]["failed"] == 1,
        code=1,
    ),
    "classify, several": Case(
        "classify bundle scans --out spread --devices cpu:1 --runtime onnxruntime",
        lambda told: _of_run(told) and told["spread"]["failed"] == {} and told["run"]["merged"]["missing"] == [],
    ),
    "classify, a shard": Case(
        f"classify bundle --job job --shard 0 --salt-file salt {ON_CPU}",
        lambda told: (told["state"], told["counts"]["slices"]) == ("published", 6),
        needs=("plan",),
    ),
    "segment": Case(
        f"segment unet series --out segmented --masks nifti {ON_CPU}",
        lambda told: _of_run(told) and told["masks"]["files"] == {"nifti": 1} and told["masks"]["written"],
    ),
    "plan": Case(
        "plan bundle scans --out job --salt-file salt", lambda told: told["job"].endswith("job") and told["slices"] == 6
    ),
    "merge": Case(
        "merge job --out merged --salt-file salt",
        lambda told: _of_run(told) and told["failures"] == {} and told["run"]["counts"]["slices"] == 6,
        needs=("plan", "classify, a shard"),
    ),
    "drift": Case("drift usual", lambda told: told["disclaimer"] == DISCLAIMER),
    "report": Case(
        "report classified --format jsonl",
        lambda told: "classified/report.html" in told["files"] and "classified/slices.jsonl" in told["files"],
        needs=("classify",),
    ),
    "doctor": Case("doctor", lambda told: "onnxruntime" in str(told["working"])),
    "benchmark run": Case(
        "benchmark bundle --data data --batch-sizes 1 --scenario single-stream --quick",
        lambda told: told["rows"][0]["error"] is None,
    ),
    "benchmark compare": Case("benchmark compare before.json before.json", lambda told: told["passed"] is True),
    "benchmark page": Case(
        "benchmark page benchmark-bundle", lambda told: told["page"] == "benchmarks.html", needs=("benchmark run",)
    ),
    "choose": Case("choose bundle --batch-sizes 1 --quick", lambda told: told["chosen"] == 0),
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
            self._said[name] = self.run(f"{case.words} --json", capfd)
        return self._said[name]

    def run(self, text: str, capfd: pytest.CaptureFixture[str]) -> Said:
        parts = {"RUNS": self.parts.runs, "parts/classifier": [self.parts.classifier.folder]}
        parts["parts/unet"] = [self.parts.unet.folder]
        words = [str(one) for word in text.split() for one in parts.get(word, [word])]
        capfd.readouterr()
        code = outcome(lambda: run(words))
        return Said(code, *capfd.readouterr())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def there(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.folder)


def test_every_command_has_it_and_a_case() -> None:
    every = all_commands()
    has = {words for words, command in every.items() if any("--json" in one.opts for one in command.params)}
    assert set(every) - has == WITHOUT
    recipes = {words for words in has if words.startswith("reproduce ")} - set(CASES)
    assert {name.partition(",")[0] for name in CASES} - {"train folds"} == has - recipes
    assert set(FAIL) == (set(CASES) & has) - {"models", "reproduce list", "doctor", "verify"}


@pytest.mark.parametrize("name", CASES)
def test_standard_output_is_one_document(name: str, home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    said = home.say(name, capfd)
    assert said.code == CASES[name].code, said.err
    told = json.loads(said.out)
    assert CASES[name].holds(told), told
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
    told = home.run("reproduce table1 --data data --out lines --json", capfd)
    assert "table1: Slices of each split and class." in told.err
    logged = home.run("reproduce table1 --data data --out logged --log-format json --json", capfd)
    assert {"start", "end"} <= {json.loads(line)["event"] for line in logged.err.splitlines()}
    quiet = home.run("reproduce table1 --data data --out quiet --quiet --json", capfd)
    assert quiet.err == ""
    assert all(json.loads(one.out)["results"][0]["id"] == "table1" for one in (told, logged, quiet))
