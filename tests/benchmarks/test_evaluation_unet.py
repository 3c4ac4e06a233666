"""`evaluate` of a U-Net: a runtime that answers with shifted masks, scored against MONAI and by hand."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from benchmarks.evaluation.report import page, write_report
from benchmarks.evaluation.run import Evaluation, evaluate
from benchmarks.evaluation.subject import EvaluationSubject
from lits_deploy.contract import InputContract
from lits_deploy.runtime import Outputs, Runtime, RuntimeInfo

SIDE = 32
SPACING = [4.0, 1.5, 0.75]
DRAWS = 40

Volume = np.ndarray


def volume(seed: int, *, lesions: bool = True) -> Volume:
    """uint8 [6, 32, 32]: a liver in the middle slices, with two lesions."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((6, SIDE, SIDE), np.uint8)
    y, x = int(rng.integers(6, 10)), int(rng.integers(6, 10))
    labels[1:5, y : y + 14, x : x + 12] = 1
    if lesions:
        labels[2:4, y + 2 : y + 5, x + 2 : x + 5] = 2
        labels[4, y + 9 : y + 12, x + 8 : x + 11] = 2
    return labels


def guess(labels: Volume) -> Volume:
    """What the fake network says: everything two columns to the right, the lesion of slice 4 missed."""
    moved = np.roll(labels, 2, axis=-1)
    moved[4] = np.minimum(moved[4], 1)
    return moved


def write(folder: Path, volumes: dict[int, Volume], *, step: int = 1, spacing: bool = True, side: int = SIDE) -> Path:
    """A test split whose grey value is the label times 100: the fake network reads it back."""
    for kind in ("images", "masks"):
        (folder / "test" / kind).mkdir(parents=True)
    for patient, labels in volumes.items():
        for level, mask in enumerate(labels):
            name = f"volume-{patient:03d}_{level * step:04d}.png"
            big = mask.repeat(side // SIDE, axis=0).repeat(side // SIDE, axis=1)
            Image.fromarray(big * 100).save(folder / "test" / "images" / name)
            Image.fromarray(big).save(folder / "test" / "masks" / name)
    declared: dict[str, Any] = {"window_hu": [-40, 160]}
    if spacing:
        declared["spacing_mm"] = {str(patient): SPACING for patient in volumes}
    (folder / "dataset.json").write_text(json.dumps(declared))
    return folder


class Reader(Runtime):
    """Labels from the grey values, moved as `guess` moves them; the missed lesion is told by its place."""

    name: ClassVar[str] = "reader"

    def __init__(self, *, empty: bool = False) -> None:
        super().__init__(shape=(1, SIDE, SIDE), max_batch=4)
        self.empty, self.seen = empty, 0

    def _infer(self, batch: Any) -> Outputs:
        labels = np.roll((batch[:, 0] // 100).astype(np.uint8), 2, axis=-1)
        for i in range(len(labels)):
            if self.seen % 6 == 4:
                labels[i] = np.minimum(labels[i], 1)
            self.seen += 1
        return Outputs(labels=labels * (not self.empty))

    def describe(self) -> RuntimeInfo:
        return RuntimeInfo(name=self.name, version="1", device="cpu", precision="fp32", providers=("reader",))


def subject(**reader: bool) -> EvaluationSubject:
    return EvaluationSubject(
        kind="bundle",
        name="reader",
        task="segment",
        trained_on={},
        open=lambda: Reader(**reader),
        contract=InputContract(window_hu=(-40.0, 160.0), size=SIDE, crop=None),
        identity={
            "kind": "bundle",
            "name": "reader",
            "model": "unet",
            "parameters": 7,
            "bundle_sha256": "b" * 64,
            "artifact": "fp32",
            "artifact_sha256": "a" * 64,
            "precision": "fp32",
            "checkpoint_sha256": None,
            "contract_sha256": "c" * 64,
        },
    )


VOLUMES = {7: volume(0), 3: volume(1), 5: volume(2, lesions=False)}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluate(subject(), write(tmp_path_factory.mktemp("unet") / "set", VOLUMES), draws=DRAWS)


def region(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [region for region in document["figures"]["regions"] if region["name"] == name]
    return dict(found)


def test_figures_agree_with_monai(evaluation: Evaluation) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's remarks on empty masks and on its imports
        from monai.metrics import DiceMetric, MeanIoU, compute_hausdorff_distance

        order = sorted(VOLUMES)

        def one_hot(volumes: list[Volume]) -> Any:
            hot = np.stack([np.eye(3, dtype=np.float32)[labels].transpose(3, 0, 1, 2) for labels in volumes])
            whole = hot[:, 1:].sum(axis=1, keepdims=True)
            return torch.from_numpy(np.concatenate([hot, whole], axis=1))

        target, labels = one_hot([VOLUMES[p] for p in order]), one_hot([guess(VOLUMES[p]) for p in order])
        dice = DiceMetric(include_background=True, reduction="none", ignore_empty=True)(labels, target).numpy()
        iou = MeanIoU(include_background=True, reduction="none", ignore_empty=True)(labels, target).numpy()
        hd95 = compute_hausdorff_distance(
            labels[:, 1:], target[:, 1:], include_background=True, percentile=95, spacing=SPACING
        ).numpy()
    names = ("background", "liver", "lesion", "liver with lesion")
    for k, name in enumerate(names):
        for key, theirs in (("dice", dice), ("iou", iou)):
            ours = region(evaluation.document, name)[key]
            assert ours["patient_mean"]["value"] == pytest.approx(np.nanmean(theirs[:, k]))
            assert ours["patient_minimum"] == pytest.approx(np.nanmin(theirs[:, k]))
            assert ours["worst_patient"] == f"{order[int(np.nanargmin(theirs[:, k]))]:03d}"
    for k, name in enumerate(names[1:]):
        known = hd95[:, k][np.isfinite(hd95[:, k])]
        ours = region(evaluation.document, name)["hd95_mm"]
        assert ours["patient_mean"]["value"] == pytest.approx(known.mean(), rel=1e-5)
        assert ours["patients_measured"] == len(known)


def test_global_figures_are_of_all_pixels(evaluation: Evaluation) -> None:
    target = np.concatenate([VOLUMES[p] for p in sorted(VOLUMES)])
    labels = np.concatenate([guess(VOLUMES[p]) for p in sorted(VOLUMES)])
    figures = evaluation.document["figures"]
    assert figures["pixel_error"]["value"] == pytest.approx((target != labels).mean())
    assert np.sum(figures["confusion_pixels"]) == target.size
    both = ((target == 2) & (labels == 2)).sum()
    found = region(evaluation.document, "lesion")
    assert found["dice"]["global"]["value"] == pytest.approx(2 * both / ((target == 2).sum() + (labels == 2).sum()))
    assert found["pixel_error"] == pytest.approx(((target == 2) != (labels == 2)).mean())
    assert figures["without_looking"]["pixel_error"] == pytest.approx((target > 0).mean())


def test_a_patient_without_lesions_is_not_scored_for_them(evaluation: Evaluation) -> None:
    lesion = region(evaluation.document, "lesion")
    assert lesion["dice"]["patients_scored"] == 2
    assert lesion["hd95_mm"]["patients_undefined"] == 1
    (row,) = [row for row in evaluation.document["patients"] if row["patient"] == "005"]
    assert row["dice_lesion"] is None
    assert row["hd95_mm_lesion"] is None
    assert (row["lesions"], row["lesions_found"], row["false_lesions"]) == (0, 0, 0)
    assert "not scored" in evaluation.document["figures"]["empty_rule"]


def test_lesions_are_counted_in_three_dimensions(evaluation: Evaluation) -> None:
    lesions = evaluation.document["figures"]["lesions"]
    assert (lesions["lesions"], lesions["found"], lesions["false"]) == (4, 2, 0)
    assert lesions["recall"]["value"] == 0.5
    assert (lesions["patients_in_3d"], lesions["patients_in_2d"]) == (3, 0)


def test_an_empty_answer_has_dice_0_and_no_distance(tmp_path: Path) -> None:
    document = evaluate(subject(empty=True), write(tmp_path / "set", VOLUMES), draws=DRAWS).document
    liver = region(document, "liver")
    assert liver["dice"]["patient_minimum"] == 0
    assert liver["dice"]["patients_scored"] == 3
    assert liver["hd95_mm"]["patient_mean"]["value"] is None
    assert liver["hd95_mm"]["patients_undefined"] == 3
    assert document["figures"]["lesions"]["found"] == 0
    assert "NaN" not in page(document)


def test_without_spacing_there_is_no_distance_and_it_says_why(tmp_path: Path) -> None:
    document = evaluate(subject(), write(tmp_path / "set", VOLUMES, spacing=False), draws=DRAWS).document
    assert region(document, "liver")["hd95_mm"] is None
    assert any("spacing is not declared" in note for note in document["notes"])
    assert document["figures"]["lesions"]["patients_in_3d"] == 3, "lesions need no millimetres"


def test_gaps_between_slices_are_no_volume(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", VOLUMES)
    for kind in ("images", "masks"):
        (folder / "test" / kind / "volume-003_0003.png").unlink()
    document = evaluate(subject(), folder, draws=DRAWS).document
    rows = {row["patient"]: row for row in document["patients"]}
    assert rows["003"]["volume"] is False
    assert rows["003"]["hd95_mm_liver"] is None
    assert rows["007"]["hd95_mm_liver"] is not None
    assert any("not consecutive" in note for note in document["notes"])
    assert document["figures"]["lesions"]["patients_in_2d"] == 1
    assert document["figures"]["hd95"]["patients_measured"] == 2


def test_every_second_slice_is_a_volume_for_lesions_and_none_for_distances(tmp_path: Path) -> None:
    document = evaluate(subject(), write(tmp_path / "set", VOLUMES, step=2), draws=DRAWS).document
    assert document["figures"]["lesions"]["patients_in_3d"] == 3
    assert document["figures"]["hd95"]["patients_measured"] == 0


def test_pictures_that_were_made_smaller_have_larger_pixels(tmp_path: Path, evaluation: Evaluation) -> None:
    document = evaluate(subject(), write(tmp_path / "set", VOLUMES, side=2 * SIDE), draws=DRAWS).document
    ours, theirs = (region(d, "liver")["hd95_mm"]["patient_mean"]["value"] for d in (document, evaluation.document))
    assert ours >= 1.5 * theirs
    assert region(document, "liver")["dice"] == region(evaluation.document, "liver")["dice"]


@pytest.mark.parametrize(
    "spacing",
    [None, 5, {"3": [1, 1]}, {"3": [0, 1, 1]}, {"3": ["a", 1, 1]}, {"3": [1, 1, True]}, {"3": [1, 1, float("nan")]}],
)
def test_a_spacing_that_is_none_is_not_used(tmp_path: Path, spacing: object) -> None:
    folder = write(tmp_path / "set", {3: volume(1)})
    (folder / "dataset.json").write_text(json.dumps({"spacing_mm": spacing}))
    assert evaluate(subject(), folder).document["figures"]["hd95"]["patients_measured"] == 0


def test_without_scipy_the_rest_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scipy.spatial", "scipy.ndimage"):
        monkeypatch.setitem(sys.modules, name, None)
    document = evaluate(subject(), write(tmp_path / "set", VOLUMES), draws=DRAWS).document
    assert document["figures"]["lesions"] is None
    assert region(document, "liver")["dice"]["global"]["value"] > 0.5
    assert sum("pip install 'lits-deploy[bench]'" in note for note in document["notes"]) == 2
    assert "Does it find the lesions?" not in page(document)


def test_the_files_of_a_unet(evaluation: Evaluation, tmp_path: Path) -> None:
    names, _ = write_report(evaluation, tmp_path / "out")
    assert names == ["evaluation.json", "slices.csv", "patients.csv", "evaluation.html", "dice.png", "confusion.png"]
    with (tmp_path / "out" / "slices.csv").open(newline="") as stream:
        rows = {row["path"]: row for row in csv.DictReader(stream)}
    assert len(rows) == 18
    row = rows["test/images/volume-007_0004.png"]
    assert (row["target"], row["label"], row["dice_lesion"]) == ("2", "1", "0")
    assert rows["test/images/volume-007_0000.png"]["dice_liver"] == "", "neither has liver: not scored"
    html = (tmp_path / "out" / "evaluation.html").read_text()
    assert "Does it outline the liver?" in html
    assert html.count('r="5"><title>') == 3 + 2 + 3
    worst = evaluation.document["worst"]
    assert [row["pixel_error"] for row in worst] == sorted((row["pixel_error"] for row in worst), reverse=True)


def test_scans_of_a_patient_are_volumes_of_their_own_and_one_patient(tmp_path: Path, evaluation: Evaluation) -> None:
    folder = write(tmp_path / "set", VOLUMES)
    declared = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**declared, "patient_of": {"7": 3}}))
    found = evaluate(subject(), folder, draws=DRAWS)
    single = {row["patient"]: row for row in evaluation.document["patients"]}
    rows = {row["patient"]: row for row in found.document["patients"]}
    assert {patient: (row["scans"], row["slices"]) for patient, row in rows.items()} == {"003": (2, 12), "005": (1, 6)}
    for name in ("hd95_mm_liver", "hd95_mm_lesion"):
        assert rows["003"][name] == pytest.approx((single["003"][name] + single["007"][name]) / 2)
    for name in ("lesions", "lesions_found", "false_lesions"):
        assert rows["003"][name] == single["003"][name] + single["007"][name]
    ours, theirs = (each.document["figures"] for each in (found, evaluation))
    assert ours["lesions"]["patients_in_3d"] == 2
    assert ours["lesions"]["lesions"] == theirs["lesions"]["lesions"]
    assert {(row["patient"], row["scan"]) for row in found.slices} == {("003", "3"), ("003", "7"), ("005", "5")}
    declared["spacing_mm"].pop("7")
    (folder / "dataset.json").write_text(json.dumps({**declared, "patient_of": {"7": 3}}))
    assert evaluate(subject(), folder, draws=DRAWS).document["figures"]["hd95"]["patients_measured"] == 1


def test_a_broken_file_makes_a_gap_and_a_row(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", VOLUMES)
    (folder / "test" / "images" / "volume-005_0000.png").write_bytes(b"")
    found = evaluate(subject(), folder, draws=DRAWS)
    assert found.failed == 1
    assert {row["patient"]: row["slices"] for row in found.document["patients"]} == {"003": 6, "005": 5, "007": 6}
    assert dataclasses.replace(found).document["data"]["failed"] == 1
