"""How logits are read: temperature, abstention, answers that are no numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from folder_runs import SIZE, rows
from lits_deploy.errors import BundleError, OutputError
from lits_deploy.pipeline.judge import Judge, softmax
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

LOGITS = np.array([[4.0, 0.0, 0.0], [0.1, 0.0, 0.2], [np.nan, 0.0, 1.0]], dtype=np.float32)


def test_sure_unsure_and_broken_answers() -> None:
    sure, unsure, broken = Judge(abstain_below=0.5).answers(LOGITS)
    assert (sure.label, sure.reason, sure.unsure) == (0, None, False)
    assert (unsure.label, unsure.reason, unsure.unsure) == (None, "unsure: no class reaches 0.500", True)
    assert [unsure.p0, unsure.p1, unsure.p2] == pytest.approx(softmax(LOGITS[1]).tolist())
    assert broken[1:] == (None, None, None, None, None)
    assert (broken.reason, broken.unsure) == ("the network's answer is not a finite number", False)


def test_temperature_comes_before_the_threshold() -> None:
    (sharp,) = Judge(abstain_below=0.9).answers(LOGITS[:1])
    (flat,) = Judge(temperature=8.0, abstain_below=0.9).answers(LOGITS[:1])
    assert sharp.label == 0
    assert flat.unsure
    (exact,) = Judge(abstain_below=float(softmax(LOGITS[:1])[0, 0])).answers(LOGITS[:1])
    assert exact.label == 0, "a slice at the threshold is answered"


def test_without_a_threshold_every_number_is_an_answer() -> None:
    assert [answer.label for answer in Judge().answers(LOGITS)] == [0, 2, None]


def test_unsure_slices_keep_their_probabilities_and_lose_their_class(tmp_path: Path) -> None:
    folder = folder_of_slices(tmp_path / "scans", 9)
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56)
    plain = run_folder(bundle, [folder], tmp_path / "plain", options=ClassifyOptions(runtime="onnxruntime"))
    every = rows(tmp_path / "plain")
    highest = sorted(max(float(row[f"p{k}"]) for k in range(3)) for row in every)
    threshold = (highest[2] + highest[3]) / 2

    strict = make_tiny_bundle(tmp_path / "strict", size=SIZE, crop=56, abstain_below=threshold)
    out = tmp_path / "out"
    summary = run_folder(strict, [folder], out, options=ClassifyOptions(runtime="onnxruntime"))
    assert (summary.slices, summary.unsure, summary.failed) == (plain.slices, 3, 0)
    assert sum(summary.classes.values()) == plain.slices - 3
    unsure = [row for row in rows(out) if row["status"] == "abstain"]
    assert len(unsure) == 3
    assert {(row["label"], row["class_name"], row["reason"]) for row in unsure} == {
        ("", "", f"unsure: no class reaches {threshold:.3f}")
    }
    assert [(row["path"], row["p0"], row["p2"]) for row in rows(out)] == [
        (row["path"], row["p0"], row["p2"]) for row in every
    ]
    assert json.loads((out / "run.json").read_text())["counts"]["unsure"] == 3

    with pytest.raises(OutputError, match="abstain_below"):
        run_folder(strict, [folder], out, options=ClassifyOptions(runtime="onnxruntime", abstain=False))
    answered = run_folder(
        strict, [folder], tmp_path / "all", options=ClassifyOptions(runtime="onnxruntime", abstain=False)
    )
    assert answered.unsure == 0
    assert [row["label"] for row in rows(tmp_path / "all")] == [row["label"] for row in every]


def test_a_temperature_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="temperature"):
        make_tiny_bundle(tmp_path / "bundle", temperature=0.0)
