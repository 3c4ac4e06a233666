"""The gate's arithmetic on numbers made by hand, its limits, and the report beside the bundle."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.gate import DEFAULTS, CandidateArtifact, GateLimits, GateVerdict, override
from export.gate.comparison import ArtifactComparison
from export.gate.report import HEAD, TILE, write_report
from export.held_out import GateSlice, HeldOut
from export.source import Deployed, Original
from lits_deploy.contract import InputContract
from lits_deploy.errors import UserError
from train.models.registry import build, network

PICTURE = np.full((1, 32, 32), 90, np.uint8)


def gate_slice(name: str, target: int, patient: str = "000", mask: np.ndarray | None = None) -> GateSlice:
    return GateSlice(name=name, patient=patient, target=target, picture=PICTURE, mask=mask)


def sure(*classes: int) -> np.ndarray:
    """Probabilities that say these classes at 0.8."""
    return np.where(np.eye(3, dtype=bool)[list(classes)], 0.8, 0.1).astype(np.float32)


def compare(
    targets: list[int], original: np.ndarray, artifact: np.ndarray, patients: str | None = None
) -> ArtifactComparison:
    found = ArtifactComparison("classify")
    slices = [gate_slice(f"s{i}", t, (patients or "a" * len(targets))[i]) for i, t in enumerate(targets)]
    for start in range(0, len(slices), 2):  # in batches, as it comes
        part = slice(start, start + 2)
        found.add(slices[part], original[part], artifact[part])
    return found


def test_figures_of_a_classifier() -> None:
    targets = [2, 2, 2, 1, 0, 0]
    before, after = sure(2, 2, 1, 1, 0, 0), sure(2, 1, 2, 1, 0, 2)
    found = compare(targets, before, after, patients="aaabbb")
    figures = found.figures()
    assert figures["flipped"] == 3
    assert (figures["lesion_slices"], figures["lesions_lost"], figures["lesions_found"]) == (3, 1, 1)
    assert figures["max_delta"] == pytest.approx(0.7)
    assert figures["original"]["accuracy"] == pytest.approx(5 / 6)
    assert figures["artifact"]["accuracy"] == pytest.approx(4 / 6)
    assert figures["artifact"]["lesion_sensitivity"] == pytest.approx(2 / 3)
    assert figures["artifact"]["lesion_specificity"] == pytest.approx(2 / 3)
    assert figures["worst_patient"] == {
        "patient": "b",
        "slices": 3,
        "original": 1.0,
        "artifact": pytest.approx(2 / 3),
    }
    assert figures["judged"] == {
        "flipped": 0.5,
        "lesions_lost": pytest.approx(1 / 3),
        "lesions_lost_net": 0.0,
        "accuracy": pytest.approx(0.8),
    }
    assert [(flip.slice.name, flip.lesion_lost) for flip in found.flips] == [("s1", True), ("s2", False), ("s5", False)]


def verdict_of(found: ArtifactComparison) -> GateVerdict:
    artifact: Any = SimpleNamespace(name="int8-cpu")
    runtime: Any = None
    return GateVerdict(CandidateArtifact(artifact, "onnxruntime", runtime), found.figures(), [], found.flips)


def test_of_several_slices_the_one_in_the_middle_is_shown(tmp_path: Path) -> None:
    picture = np.array([40, 200, 90], np.uint8)[:, None, None] * np.ones((3, 4, 4), np.uint8)
    lesion = GateSlice(name="a", patient="p", target=2, picture=picture, mask=None)
    found = ArtifactComparison("classify")
    found.add([lesion], np.array([[0.1, 0.2, 0.7]]), np.array([[0.1, 0.7, 0.2]]))
    _, sheet = write_report(tmp_path, [verdict_of(found)])
    with Image.open(sheet) as shown:
        assert np.asarray(shown)[HEAD : HEAD + TILE, 8 : 8 + TILE].tolist() == [[200] * TILE] * TILE


def test_fp16_may_flip_two_in_a_thousand_and_lose_no_lesion() -> None:
    targets = [0] * 1_000 + [2] * 10
    before = sure(*targets)
    after = before.copy()
    after[:2] = sure(1, 1)
    assert DEFAULTS["fp16"].failures(compare(targets, before, after).figures()) == []
    after[2] = sure(1)
    (line,) = DEFAULTS["fp16"].failures(compare(targets, before, after).figures())
    assert line.startswith("flipped 0.0030 (≤ 0.002)")
    lost = before.copy()
    lost[-1] = sure(1)
    (line,) = DEFAULTS["fp16"].failures(compare(targets, before, lost).figures())
    assert line.startswith("lesions_lost 0.1000 (≤ 0)")


def test_int8_keeps_99_percent_of_the_accuracy_and_98_of_the_lesions_net() -> None:
    targets = [0] * 900 + [2] * 100
    before = sure(*targets)
    after = before.copy()
    after[-2:] = sure(1, 1)
    assert DEFAULTS["int8"].failures(compare(targets, before, after).figures()) == []
    after[-3] = sure(1)
    assert [line.split()[0] for line in DEFAULTS["int8"].failures(compare(targets, before, after).figures())] == [
        "lesions_lost_net"
    ]
    before[900] = sure(1)  # one that the original misses and the artifact finds: net it is two of a hundred
    assert DEFAULTS["int8"].failures(compare(targets, before, after).figures()) == []
    wrong = sure(*targets)
    wrong[:11] = sure(*[1] * 11)
    assert [
        line.split()[0] for line in DEFAULTS["int8"].failures(compare(targets, sure(*targets), wrong).figures())
    ] == ["accuracy"]


def test_what_is_not_a_number_never_passes() -> None:
    after = sure(0, 1, 2)
    after[1] = np.nan
    figures = compare([0, 1, 2], sure(0, 1, 2), after).figures()
    assert figures["max_delta"] is None
    assert "probabilities that are not finite" in GateLimits().failures(figures)
    assert GateLimits(accuracy=0.0).failures(ArtifactComparison("classify").figures()) == [
        "accuracy not a number (≥ 0)"
    ]


def test_dice_of_every_class_gates_a_unet() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:4], mask[0, :4] = 1, 2
    truth = np.moveaxis(np.where(np.eye(3, dtype=bool)[mask], 0.9, 0.05), -1, 0).astype(np.float32)[None]
    after = truth.copy()
    after[0, :, 0, :2] = np.array([0.05, 0.9, 0.05])[:, None]  # half of the lesion becomes liver
    found = ArtifactComparison("segment")
    found.add([gate_slice("s", 2, mask=mask)], truth, after)
    figures = found.figures()
    assert figures["original"]["dice"] == [1.0, 1.0, 1.0]
    assert figures["artifact"]["dice"][2] == pytest.approx(2 / 3)
    assert figures["judged"] == {"dice": pytest.approx(1 / 3)}
    assert figures["pixels_changed"] == pytest.approx(2 / 64)
    assert figures["flipped"] == 0, "some lesion is still there"
    assert DEFAULTS["int8"].failures(figures) == ["dice 0.3333 (≤ 0.01)"]


def test_limits_change_by_name_and_say_so() -> None:
    limits, said = override(["int8.accuracy=0.98", "fp16.flipped = none"])
    assert limits["int8"].accuracy == 0.98
    assert limits["fp16"].flipped is None
    assert said == ["int8.accuracy: 0.99 → 0.98", "fp16.flipped: 0.002 → none"]
    assert DEFAULTS["int8"].accuracy == 0.99, "the defaults stay"


@pytest.mark.parametrize("change", ["int8", "fp32.flipped=0", "int8.accuracy", "int8.accuracy=", "int8.accuracy=nan"])
def test_a_limit_that_is_none_is_refused(change: str) -> None:
    with pytest.raises(UserError) as caught:
        override([change])
    assert caught.value.fix


def test_report_names_every_flip_and_shows_lost_lesions_first(tmp_path: Path) -> None:
    found = compare([1, 2, 0], sure(1, 2, 0), sure(0, 1, 0))
    table, sheet = write_report(tmp_path / "gates", [verdict_of(found)])
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["slice"], row["target"], row["original"], row["artifact"], row["lesion_lost"]) for row in rows] == [
        ("s1", "2", "2", "1", "1"),
        ("s0", "1", "1", "0", "0"),
    ]
    with Image.open(sheet) as picture:
        assert picture.width > 900
        assert np.asarray(picture).max() > 240, "there is writing on it"

    found.flips.clear()
    (table,) = write_report(tmp_path / "gates", [verdict_of(found)])
    assert table.read_text().count("\n") == 1
    assert not sheet.exists(), "the picture of an earlier export would tell of other slices"


def test_without_patients_phantoms_are_used_and_the_record_says_so(tmp_path: Path) -> None:
    contract = InputContract(window_hu=None, crop=None)
    module = Deployed(build("unet", width=2), contract, "segment")
    original = Original(info=network("unet"), module=module, contract=contract, width=2, data=tmp_path / "gone")
    held = HeldOut(original)
    assert held.origin == "phantoms"
    assert "says nothing about patients" in str(held.note())
    first = next(held.gate_slices())
    assert first.picture.shape == (1, 256, 256)
    assert first.mask is not None
    assert first.target == first.mask.max()
