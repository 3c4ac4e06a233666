"""A U-Net's figures, patient by patient: overlap, pixel error, HD95, lesions found.

A scan is scored over all of its slices and then forgotten, so memory holds one scan. Its slices are a volume where
their numbers are known and evenly spaced; a distance in mm needs consecutive numbers and a declared spacing too. A
patient with several scans has the pixels and lesions of all of them, and the mean of their distances.
The empty-mask rule: a region in neither mask of a patient is not scored; in one only: Dice 0, IoU 0, no distance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.evaluation.classifier import WORST
from benchmarks.evaluation.surfaces import LesionCounts, class_pixel_error, count_lesions, hausdorff_95, summed
from export.answers import LabelledAnswer
from export.bootstrap import Resamples, figure, merged, quotient, resample
from lits_deploy.errors import MissingExtra
from lits_deploy.series import steps_of
from train.metrics import confusion_matrix, overlap

CLASSES = ("background", "liver", "lesion")
WHOLE = "liver with lesion"
"""Labels 1 and 2 as one region: what the literature on LiTS calls liver."""

REGIONS = (*CLASSES, WHOLE)
_HD95 = {"liver": (1, 1), "lesion": (2, 2), WHOLE: (1, 2)}

EMPTY_RULE = (
    "A region that is in neither mask of a patient is not scored; one that is in one mask only has Dice 0 and IoU 0, "
    "and no HD95."
)

Spacing = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PatientScores:
    """One patient. matrix: pixel confusion int64 [3, 3]; hd95_mm: by region, NaN where one mask is empty.

    no_hd95: why there is no distance at all; volume: whether lesions were counted in 3-D; lesions: None without SciPy.
    """

    patient: str
    slices: int
    matrix: npt.NDArray[np.int64]
    hd95_mm: dict[str, float]
    no_hd95: str | None
    volume: bool
    lesions: LesionCounts | None
    scans: int = 1


def score_scan(answers: Sequence[LabelledAnswer], spacing_mm: Spacing | None) -> PatientScores:
    """Score the answered slices of a scan, in order. spacing_mm: of neighbouring slices, rows and columns as stored."""
    assert answers
    masks = np.stack([answer.mask for answer in answers if answer.mask is not None])
    labels = np.stack([answer.labels for answer in answers if answer.labels is not None])
    step = _step([answer.number for answer in answers])
    hd95, why = _distances(answers, masks, labels, step, spacing_mm)
    return PatientScores(
        patient=answers[0].sample.patient,
        slices=len(masks),
        matrix=sum((_pixels(m, p) for m, p in zip(masks, labels, strict=True)), np.zeros((3, 3), np.int64)),
        hd95_mm=hd95,
        no_hd95=why,
        volume=step is not None,
        lesions=_lesions(masks == 2, labels == 2, step is not None),
    )


def joined(scans: Sequence[PatientScores]) -> PatientScores:
    """A patient, from each of the patient's scans; of distances the mean over the scans that have one."""
    first, *others = scans
    if not others:
        return first
    why = next((scan.no_hd95 for scan in scans if scan.no_hd95 is not None), None)
    counts = [scan.lesions for scan in scans if scan.lesions is not None]
    return PatientScores(
        patient=first.patient,
        scans=len(scans),
        slices=sum(scan.slices for scan in scans),
        matrix=sum((scan.matrix for scan in others), first.matrix),
        hd95_mm={} if why else {name: _mean(scan.hd95_mm[name] for scan in scans) for name in first.hd95_mm},
        no_hd95=why,
        volume=all(scan.volume for scan in scans),
        lesions=summed(counts) if len(counts) == len(scans) else None,
    )


def slice_row(answer: LabelledAnswer) -> dict[str, Any]:
    """The figures of one slice for slices.csv: classes as the largest label, Dice, share of wrong pixels."""
    assert answer.mask is not None
    assert answer.labels is not None
    return {"target": answer.target, **matrix_row(_pixels(answer.mask, answer.labels))}


def matrix_row(matrix: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The same from its pixels [3, 3], but for the target, which is that of the mask as it is stored."""
    dice, _ = overlap_of_regions(matrix)
    return {
        "label": int(np.flatnonzero(matrix.sum(axis=0)).max()),
        "dice_liver": float(dice[1]),
        "dice_lesion": float(dice[2]),
        "dice_liver_with_lesion": float(dice[3]),
        "pixel_error": float(1 - np.diag(matrix).sum() / matrix.sum()),
    }


def worst_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of rows of slices.csv those with the largest share of wrong pixels, the worst first."""
    good = sorted((row for row in rows if row["reason"] is None), key=lambda row: (-row["pixel_error"], row["path"]))
    columns = ("path", "patient", "target", "label", "dice_liver", "dice_lesion", "pixel_error")
    return [{name: row[name] for name in columns} for row in good[:WORST]]


def overlap_of_regions(matrix: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Dice and IoU of REGIONS, each [..., 4], from pixel confusion matrices [..., 3, 3]."""
    (dice, iou), (whole_dice, whole_iou) = overlap(matrix), overlap(merged(matrix))
    return np.append(dice, whole_dice[..., 1:], axis=-1), np.append(iou, whole_iou[..., 1:], axis=-1)


def figures_of(patients: Sequence[PatientScores], draws: int) -> dict[str, Any]:
    """Every figure of a U-Net, with intervals; see `run` for the layout."""
    matrices = np.stack([patient.matrix for patient in patients])
    resamples = resample([patient.patient for patient in patients], draws=draws)
    order = np.argsort([patient.patient for patient in patients], kind="stable")  # as `resample` numbers them
    matrices, patients = matrices[order], [patients[i] for i in order]
    total = matrices.sum(axis=0)
    pooled = resamples.pooled(matrices)
    return {
        "slices": sum(patient.slices for patient in patients),
        "patients": len(patients),
        "pixel_error": figure(float(_pixel_error(total)), _pixel_error(pooled)),
        "regions": [_region(k, matrices, resamples, patients) for k in range(len(REGIONS))],
        "without_looking": {"pixel_error": float(1 - total[0].sum() / total.sum())},
        "confusion_pixels": total.tolist(),
        "hd95": _about_hd95(patients),
        "lesions": _about_lesions(patients, resamples),
        "empty_rule": EMPTY_RULE,
    }


def patients_of(patients: Sequence[PatientScores]) -> list[dict[str, Any]]:
    """One row a patient, ordered by name; None for what is not scored."""
    rows = []
    for scores in sorted(patients, key=lambda patient: patient.patient):
        (dice, _), lesions = overlap_of_regions(scores.matrix), scores.lesions
        rows.append(
            {
                "patient": scores.patient,
                "scans": scores.scans,
                "slices": scores.slices,
                "volume": scores.volume,
                **{f"dice_{_snake(name)}": float(dice[k]) for k, name in enumerate(REGIONS) if k},
                "pixel_error": float(_pixel_error(scores.matrix)),
                **{f"hd95_mm_{_snake(name)}": scores.hd95_mm.get(name, float("nan")) for name in _HD95},
                "lesions": lesions and lesions.lesions,
                "lesions_found": lesions and lesions.found,
                "false_lesions": lesions and lesions.false,
            }
        )
    return rows


def _region(
    k: int, matrices: npt.NDArray[np.int64], resamples: Resamples, patients: Sequence[PatientScores]
) -> dict[str, Any]:
    total = matrices.sum(axis=0)
    each, overall, drawn = map(overlap_of_regions, (matrices, total, resamples.pooled(matrices)))
    found: dict[str, Any] = {"name": REGIONS[k]}
    for i, name in enumerate(("dice", "iou")):
        values = each[i][:, k]
        of_patients = _of_patients(values, resamples, patients, "minimum")
        overall_figure = figure(float(overall[i][k]), drawn[i][:, k])
        found[name] = {"global": overall_figure, **of_patients, "patients_scored": int(np.isfinite(values).sum())}
    found["pixel_error"] = float(np.append(class_pixel_error(total), class_pixel_error(merged(total))[1])[k])
    found["hd95_mm"] = None
    measured = sum(patient.no_hd95 is None for patient in patients)
    if REGIONS[k] in _HD95 and measured:
        values = np.array([patient.hd95_mm.get(REGIONS[k], np.nan) for patient in patients])
        known = int(np.isfinite(values).sum())
        counts = {"patients_measured": known, "patients_undefined": measured - known}
        found["hd95_mm"] = _of_patients(values, resamples, patients, "maximum") | counts
    return found


def _of_patients(
    values: npt.NDArray[np.float64], resamples: Resamples, patients: Sequence[PatientScores], worst: str
) -> dict[str, Any]:
    """Mean and worst, the `minimum` or `maximum`, of [patients]; NaN where a patient has no figure."""
    known, sign = np.isfinite(values), 1 if worst == "minimum" else -1
    index = int(np.where(known, sign * values, np.inf).argmin())
    some = bool(known.any())
    return {
        "patient_mean": figure(float(values[known].mean()) if some else float("nan"), resamples.patient_means(values)),
        f"patient_{worst}": float(values[index]) if some else None,
        "worst_patient": patients[index].patient if some else None,
    }


def _about_hd95(patients: Sequence[PatientScores]) -> dict[str, Any]:
    reasons = sorted({patient.no_hd95 for patient in patients if patient.no_hd95})
    return {"patients_measured": sum(patient.no_hd95 is None for patient in patients), "not_computed": reasons}


def _about_lesions(patients: Sequence[PatientScores], resamples: Resamples) -> dict[str, Any] | None:
    counts = [patient.lesions for patient in patients if patient.lesions is not None]
    if not counts:
        return None
    total = summed(counts)
    drawn = resamples.pooled(np.array(counts))
    volumes = sum(patient.volume for patient in patients)
    recall = total.found / total.lesions if total.lesions else float("nan")
    return {
        "recall": figure(recall, quotient(drawn[:, 1], drawn[:, 0])),
        **total._asdict(),
        "patients_in_3d": volumes,
        "patients_in_2d": len(patients) - volumes,
    }


def _distances(
    answers: Sequence[LabelledAnswer],
    masks: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    step: float | None,
    spacing_mm: Spacing | None,
) -> tuple[dict[str, float], str | None]:
    if spacing_mm is None:
        return {}, "the spacing is not declared (dataset.json: spacing_mm)"
    if step != 1:
        return {}, "the slices are not consecutive, so they are no volume"
    depth, row, column = spacing_mm
    scale = _stored_side(answers[0]) / masks.shape[-1]  # a picture that was made smaller has larger pixels
    spacing = (depth, row * scale, column * scale)
    try:
        return {
            name: hausdorff_95((masks >= low) & (masks <= high), (labels >= low) & (labels <= high), spacing)
            for name, (low, high) in _HD95.items()
        }, None
    except MissingExtra as error:
        return {}, str(error)


def _lesions(masks: npt.NDArray[np.bool_], labels: npt.NDArray[np.bool_], volume: bool) -> LesionCounts | None:
    try:
        if volume:
            return count_lesions(masks, labels)
        return summed([count_lesions(mask, label) for mask, label in zip(masks, labels, strict=True)])
    except MissingExtra:
        return None


def _pixels(mask: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    return confusion_matrix(mask.ravel(), labels.ravel(), len(CLASSES))


def _mean(values: Iterable[float]) -> float:
    """Of those that are not NaN; NaN where all are."""
    known = [value for value in values if value == value]
    return sum(known) / len(known) if known else float("nan")


def _stored_side(answer: LabelledAnswer) -> int:
    """Pixels along a side of the picture as it is stored."""
    with Image.open(answer.sample.image) as picture:
        return int(picture.width)


def _step(numbers: Sequence[int | None]) -> float | None:
    """Distance of the slices' numbers where it is the same everywhere; None where they are no volume."""
    known = [number for number in numbers if number is not None]
    steps = steps_of(known)
    uneven = len(known) < len(numbers) or steps.missing or steps.repeated or steps.irregular
    return None if uneven else steps.step_mm


def _pixel_error(matrix: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    wrong = 1 - np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum(axis=(-2, -1))
    return np.asarray(wrong, dtype=np.float64)


def _snake(name: str) -> str:
    return name.replace(" ", "_")
