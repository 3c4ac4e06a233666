"""`lits-deploy bundle inspect`, `pack` and `unpack` as they are typed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from export.confidence import fit_abstain
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.errors import BundleError, OutputError
from tiny_bundle import make_tiny_bundle, with_manifest
from tiny_points import POINTS, PROMISE

runner = CliRunner()

DATASET: dict[str, Any] = {
    "name": "abdomens",
    "source": "LiTS",
    "split_by": "patient",
    "slices": {"train": 1640, "validate": 48, "test": 42},
    "patients": {"train": ["1", "2"], "validate": ["3"], "test": ["4"]},
}
TRAINING: dict[str, Any] = {
    "checkpoint": "best",
    "dataset": DATASET,
    "epoch": 7,
    "settings": {"epochs": 24, "lr": 0.0003, "batch_size": 32, "class_weights": "balanced", "seed": 11},
    "made_with": {"git": "b60ddee073bde9f588638bf6fcc9d9e4258d7a06", "torch": "2.14.1"},
}
FIGURES = {
    "data": "abdomens/test",
    "split_by": "patient",
    "synthetic": False,
    "slices": 42,
    "patients": 1,
    "failed": 0,
    "left_out": 0,
    "runtime": "onnxruntime 1.30.1",
    "device": "cpu",
    "accuracy": 0.9024,
    "balanced_accuracy": 0.8,
    "liver_accuracy": 0.95,
    "lesion_auroc": None,
    "confusion": [[14, 0, 0], [0, 14, 0], [0, 4, 10]],
}
METRICS = {"artifacts": {"fp32": {"test": FIGURES}}, "in_training": {"test": {"accuracy": 0.123}}}
PARITY = {"slices": 256, "origin": "abdomens/validate", "max_delta": 5.96e-08, "flipped": 0, "passed": True}
CALIBRATION = {
    "fitted": True,
    "data": "abdomens/validate",
    "split_by": "patient",
    "slices": 48,
    "patients": ["3"],
    "before": {"nll": 1.0, "ece": 0.21},
    "after": {"nll": 0.9, "ece": 0.05},
    "abstain": fit_abstain(
        [0] * 27 + [1] * 3, np.array([[0.9, 0.1, 0.0]] * 28 + [[0.5, 0.4, 0.1]] * 2), wanted_accuracy=0.99
    ).to_json(),
}


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle whose manifest tells everything, in the current folder."""
    monkeypatch.chdir(tmp_path)
    bundle = make_tiny_bundle(Path("tiny"), size=32, crop=28, temperature=1.37, abstain_below=0.58)
    artifact = dataclasses.replace(bundle.artifact(), parity=PARITY, calibration=CALIBRATION)
    return with_manifest(bundle, artifacts=(artifact,), training=TRAINING, metrics=METRICS, export={"onnx": "1.23.2"})


def said(*arguments: str, code: int = 0) -> str:
    done = runner.invoke(app, ["bundle", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_inspect_answers_what_a_stranger_would_ask(full: Bundle) -> None:
    text = said("inspect", "tiny")
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 41
    page = one_line(text)
    for answer in (
        "tiny: classifies slices, 9 parameters",
        "Not a medical device, not for clinical use.",
        "32×32",
        "window [-40, 160] HU",
        "28×28",
        "0 no liver, 1 liver, 2 liver with lesion",
        "on abdomens/test, 42 slices of 1 patient fp32 (onnxruntime 1.30.1): accuracy 0.902",
        "on the validate split, which chose the weights: not measured on this file",
        "accuracy 0.902",
        "lesion-slice AUROC not defined",
        "split by patient",
        "1,640 slices of 2 patients",
        "epoch 7 of 24 (best checkpoint)",
        "seed 11",
        "revision b60ddee073bd",
        "torch 2.14.1",
        "onnx 1.23.2",
        "256 slices (abdomens/validate), max |Δp| 6.0e-08 (≤ 1e-05), 0 flipped",
        "temperature 1.370, calibration error 0.210 → 0.050, abstains below 0.580",
        "classified 93.3 % of them, right of those 96.4 % (wanted 99.0 %: NOT REACHED)",
        full.sha256,
        full.manifest.contract.sha256,
        "all 5 match their hashes",
        "next: lits-deploy verify tiny",
    ):
        assert answer in page
    assert "!!" not in page


def test_a_wanted_accuracy_that_was_reached_and_one_that_is_not_recorded(full: Bundle) -> None:
    for rule, says in (
        (fit_abstain([0, 0], np.eye(3)[[0, 0]]).to_json(), "right of those 100.0 % (wanted 95.0 %: reached)"),
        ({"coverage": 1.0}, "100.0 % of them, right of those not recorded (wanted not recorded: not recorded)"),
    ):
        artifact = dataclasses.replace(full.artifact(), calibration={**CALIBRATION, "abstain": rule})
        with_manifest(full, artifacts=(artifact,))
        assert says in one_line(said("inspect", "tiny"))


def test_what_it_will_miss_is_said_or_that_nobody_knows(full: Bundle) -> None:
    assert "will miss not known: export it with labelled patients" in one_line(said("inspect", "tiny"))
    points = {"operating_point": "sensitivity=0.9", "operating_points": POINTS, "promise": PROMISE}
    with_manifest(full, artifacts=(dataclasses.replace(full.artifact(), **points),))
    text = said("inspect", "tiny")
    assert max(map(len, text.splitlines())) <= 80
    assert "Of 100 slices with a lesion it is expected to find 88 (78 to 98);" in one_line(text)
    assert "each answered by a network that had not seen them. In 18 of 19 patients with a lesion" in one_line(text)
    assert (
        "rule: sensitivity=0.9, odds of 0.125 or more; `classify --operating-point` takes argmax, balanced, "
        "sensitivity=0.9, specificity=0.95"
    ) in one_line(text)


def test_a_split_by_slice_is_said_loudly_and_first(full: Bundle) -> None:
    with_manifest(full, training={**TRAINING, "dataset": {**DATASET, "split_by": "slice"}})
    text = one_line(said("inspect", "tiny"))
    assert "!! SPLIT BY SLICE !!" in text
    assert text.index("!! SPLIT BY SLICE !!") < text.index("accuracy 0.902")


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "bare", window_hu=None, crop=None, resize="never")
    text = one_line(said("inspect", str(bundle.folder)))
    for answer in (
        "window unknown",
        "other sizes are refused",
        "on the test split: not measured on this file",
        "how the data was split is not known",
        "how they were trained is not recorded",
        "parity: never compared with the original",
        "not calibrated: temperature 1, never abstains",
    ):
        assert answer in text


def test_figures_of_a_u_net(full: Bundle) -> None:
    classified = {"accuracy", "balanced_accuracy", "liver_accuracy", "lesion_auroc"}
    test = {key: value for key, value in FIGURES.items() if key not in classified}
    test |= {"dice": [0.99, 0.9, None], "iou": [0.98, 0.8, 0.1], "pixel_error": 0.1}
    with_manifest(full, task="segment", metrics={"artifacts": {"fp32": {"test": test}}})
    text = one_line(said("inspect", "tiny"))
    assert "Dice: 0 0.990, 1 0.900, 2 not defined" in text
    assert "lits-deploy benchmark tiny" in text


def test_json_of_folder_and_zip(full: Bundle) -> None:
    said("pack", "tiny")
    folder, packed = (json.loads(said("inspect", path, "--json")) for path in ("tiny", "tiny.zip"))
    assert folder["bundle"] == packed["bundle"] == full.sha256
    assert folder["manifest"] == packed["manifest"] == json.loads(json.dumps(full.manifest.to_json()))
    assert (folder["packed"], packed["packed"], folder["whole"]) == (False, True, True)


def test_problems_are_listed_and_exit_1(full: Bundle) -> None:
    said("pack", "tiny")
    (full.folder / "model.onnx").write_bytes(b"another")
    text = said("inspect", "tiny", code=1)
    assert "[x] model.onnx was altered" in text
    assert "must not be used" in text
    data = bytearray(Path("tiny.zip").read_bytes())
    data[data.index(b"A bundle for tests")] ^= 1
    Path("tiny.zip").write_bytes(data)
    assert "[x]" in said("inspect", "tiny.zip", code=1)


def test_a_manifest_cannot_steer_the_terminal(full: Bundle) -> None:
    with_manifest(full, model={"name": "\x1b]0;owned\x07\x1b[2J[bold]x", "parameters": 1})
    text = said("inspect", "tiny")
    assert "\x1b" not in text
    assert "[bold]x" in text


def test_pack_tells_hash_and_size_and_the_next_step_works(full: Bundle, tmp_path: Path) -> None:
    text = said("pack", "tiny", "--out", "to/box.zip")
    assert hashlib.sha256(Path("to/box.zip").read_bytes()).hexdigest() in text
    (step,) = (line for line in text.splitlines() if line.startswith("next:"))
    shutil.rmtree("tiny")
    command = shlex.split(step.partition("(")[0])[2:]
    command[command.index("box.zip")] = "to/box.zip"
    text = said(*command[1:])
    assert "5 files match their hashes" in text
    assert f"lits-deploy verify {Path('tiny')}" in text
    assert Bundle.open(Path("tiny")).sha256 == full.sha256


def test_errors_of_the_user(full: Bundle) -> None:
    for arguments, kind in (
        (["inspect", "nowhere"], BundleError),
        (["inspect", "tiny/model.onnx"], BundleError),
        (["pack", "tiny/model.onnx"], BundleError),
        (["pack", "tiny", "--out", "tiny/x.zip"], OutputError),
        (["unpack", "tiny"], BundleError),
    ):
        done = runner.invoke(app, ["bundle", *arguments])
        assert isinstance(done.exception, kind), arguments
        assert done.exception.fix
    done = subprocess.run(
        [sys.executable, "-m", "lits_deploy", "bundle", "unpack", "tiny/model.onnx"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: tiny/model.onnx is not a whole zip file")
