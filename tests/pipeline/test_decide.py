"""How logits are read: temperature, abstention, answers that are no numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from folder_runs import SIZE, rows
from lits_deploy.errors import BundleError, OutputError, UserError
from lits_deploy.operating_point import OperatingPoint
from lits_deploy.pipeline.decide import SliceDecider, softmax
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle
from tiny_points import POINTS, PROMISE

LOGITS = np.array([[4.0, 0.0, 0.0], [0.1, 0.0, 0.2], [np.nan, 0.0, 1.0]], dtype=np.float32)


def test_sure_unsure_and_broken_answers() -> None:
    sure, unsure, broken = SliceDecider(abstain_below=0.5).answers(LOGITS)
    assert (sure.label, sure.reason, sure.unsure) == (0, None, False)
    assert (unsure.label, unsure.reason, unsure.unsure) == (None, "unsure: no class reaches 0.500", True)
    assert [unsure.p0, unsure.p1, unsure.p2] == pytest.approx(softmax(LOGITS[1]).tolist())
    assert set(broken[1:]) == {None}
    assert (broken.reason, broken.unsure) == ("the network's answer is not a finite number", False)


def test_temperature_comes_before_the_threshold() -> None:
    (sharp,) = SliceDecider(abstain_below=0.9).answers(LOGITS[:1])
    (flat,) = SliceDecider(temperature=8.0, abstain_below=0.9).answers(LOGITS[:1])
    assert sharp.label == 0
    assert flat.unsure
    (exact,) = SliceDecider(abstain_below=float(softmax(LOGITS[:1])[0, 0])).answers(LOGITS[:1])
    assert exact.label == 0, "a slice at the threshold is answered"


def test_without_a_threshold_every_number_is_an_answer() -> None:
    assert [answer.label for answer in SliceDecider().answers(LOGITS)] == [0, 2, None]


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
    assert (summary.slices, summary.abstained, summary.failed) == (plain.slices, 3, 0)
    assert sum(summary.classes.values()) == plain.slices - 3
    unsure = [row for row in rows(out) if row["status"] == "abstained"]
    assert len(unsure) == 3
    assert {(row["label"], row["class_name"], row["reason"]) for row in unsure} == {
        ("", "", f"unsure: no class reaches {threshold:.3f}")
    }
    assert [(row["path"], row["p0"], row["p2"]) for row in rows(out)] == [
        (row["path"], row["p0"], row["p2"]) for row in every
    ]
    assert json.loads((out / "run.json").read_text())["counts"]["abstained"] == 3

    with pytest.raises(OutputError, match="abstain_below"):
        run_folder(strict, [folder], out, options=ClassifyOptions(runtime="onnxruntime", abstain=False))
    answered = run_folder(
        strict, [folder], tmp_path / "all", options=ClassifyOptions(runtime="onnxruntime", abstain=False)
    )
    assert answered.abstained == 0
    assert [row["label"] for row in rows(tmp_path / "all")] == [row["label"] for row in every]


def test_a_temperature_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="temperature"):
        make_tiny_bundle(tmp_path / "bundle", temperature=0.0)


def drawn(seed: int, count: int = 400) -> np.ndarray:
    """Logits of all kinds, some far apart."""
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 1, (count, 3)) * rng.choice([0.3, 3.0, 60.0], (count, 1))).astype(np.float32)


@pytest.mark.parametrize("below", [None, 0.5])
def test_argmax_answers_as_it_did_before_there_were_rules(below: float | None) -> None:
    """The rule of earlier versions, written out."""
    logits = np.concatenate([drawn(0), LOGITS])
    rows = list(SliceDecider(temperature=1.7, abstain_below=below).answers(logits))
    for row, z in zip(rows, logits, strict=True):
        p = softmax(z[np.newaxis], 1.7)[0]
        if not np.isfinite(z).all():
            assert (row.label, row.p0) == (None, None)
            continue
        unsure = below is not None and p[z.argmax()] < np.float32(below)
        assert (row.label, row.unsure) == (None if unsure else int(z.argmax()), unsure)
        assert (row.p0, row.p1, row.p2) == tuple(map(float, p))
    assert SliceDecider(abstain_below=below).to_json() == {"abstain_below": below}, "its identity, too"


@pytest.mark.parametrize("threshold", [1e-20, 0.125, 1.0, 3.0, 1e20])
def test_class_2_from_the_threshold_on_and_else_the_more_probable_of_the_others(threshold: float) -> None:
    logits, decider = (
        drawn(1),
        SliceDecider(temperature=2.0, point=OperatingPoint(rule="balanced", threshold=threshold)),
    )
    z = logits.astype(np.float64) / 2.0
    odds = np.exp(z[:, 2] - z.max(axis=1)) / np.exp(z[:, :2] - z.max(axis=1, keepdims=True)).sum(axis=1)
    labels = np.array([answer.label for answer in decider.answers(logits)])
    np.testing.assert_array_equal(labels == 2, odds >= threshold)
    np.testing.assert_array_equal(labels[labels != 2], logits[labels != 2, :2].argmax(axis=1))
    assert len(set(labels)) == 3


def test_odds_hold_where_probabilities_would_round() -> None:
    logits = np.array([[0.0, 0.0, 40.0], [0.0, 0.0, 41.0]], np.float32)
    assert softmax(logits)[0, 2] == softmax(logits)[1, 2] == 1.0
    between = float(np.exp(40.5) / 2)
    labels = [
        a.label for a in SliceDecider(point=OperatingPoint(rule="specificity=0.98", threshold=between)).answers(logits)
    ]
    assert labels == [0, 2]


def test_what_the_rule_finds_is_not_abstained_and_everything_else_abstains_as_before() -> None:
    logits = drawn(2)
    plain = list(SliceDecider(abstain_below=0.6).answers(logits))
    sensitive = list(
        SliceDecider(abstain_below=0.6, point=OperatingPoint(rule="balanced", threshold=0.4)).answers(logits)
    )
    assert any(before.unsure and after.label == 2 for before, after in zip(plain, sensitive, strict=True))
    for before, after in zip(plain, sensitive, strict=True):
        if after.label != 2:
            assert after.unsure == before.unsure
    broken = list(SliceDecider(point=OperatingPoint(rule="balanced", threshold=0.1)).answers(LOGITS))[2]
    assert set(broken[1:]) == {None}, "no number is no lesion"


def test_another_rule_is_another_run_and_the_bundles_own_is_not(tmp_path: Path) -> None:
    folder, out = folder_of_slices(tmp_path / "scans", 9), tmp_path / "out"
    points = {"operating_point": "sensitivity=0.9", "operating_points": POINTS, "promise": PROMISE}
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56, **points)

    def run(out: Path, rule: str | None = None) -> list[dict[str, str]]:
        run_folder(bundle, [folder], out, options=ClassifyOptions(runtime="onnxruntime", operating_point=rule))
        return rows(out)

    own = run(out)
    for row in own:
        p0, p1, p2 = (float(row[name]) for name in ("p0", "p1", "p2"))
        assert (row["label"] == "2") == (p2 / (p0 + p1) >= 0.125)
    record = json.loads((out / "run.json").read_text())
    assert record["identity"]["operating_point"] == "sensitivity=0.9"
    assert record["decided"]["rule"] == "sensitivity=0.9"
    assert record["decided"]["sensitivity"] == POINTS[2]["sensitivity"]
    assert record["decided"]["promised"].startswith("Of 100 slices with a lesion it is expected to find 88 (78 to 98);")
    assert run(out, "sensitivity=0.90") == own, "goes on: it is the same rule"
    for rule in ("argmax", "balanced"):
        with pytest.raises(
            OutputError, match=r"another run \(operating_point sensitivity=0\.9 there, (default|balanced) now"
        ):
            run(out, rule)
    argmax = run(tmp_path / "argmax", "argmax")
    assert "operating_point" not in json.loads((tmp_path / "argmax" / "run.json").read_text())["identity"]
    for row, before in zip(argmax, own, strict=True):
        assert row["label"] == str(np.argmax([float(row[name]) for name in ("p0", "p1", "p2")]))
        assert [row[name] for name in ("p0", "p1", "p2")] == [before[name] for name in ("p0", "p1", "p2")]
    assert sum(row["label"] == "2" for row in own) > sum(row["label"] == "2" for row in argmax)


@pytest.mark.parametrize(
    ("rule", "says"),
    [("sensitivity=0.33", "no threshold for sensitivity=0.33"), ("youden", "`youden` is not an operating point")],
)
def test_a_rule_that_is_not_there_is_one_line_before_anything_starts(tmp_path: Path, rule: str, says: str) -> None:
    points = {"operating_points": POINTS, "promise": PROMISE}
    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56, **points)
    with pytest.raises(UserError, match=says):
        run_folder(bundle, [tmp_path], tmp_path / "out", options=ClassifyOptions(operating_point=rule))
    assert not (tmp_path / "out").exists()
