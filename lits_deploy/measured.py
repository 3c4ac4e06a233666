"""The figures that a bundle carries of its own files, measured at export; of each file and split.

    metrics.artifacts.NAME.SPLIT     see `export.figures.measure`
    metrics.in_training              what training measured, of the network before export: never shown as the file's

A manifest comes from a stranger, so everything is looked at before it is used: what is not as it must be counts as not
measured, like the figures of a bundle that was made before there were any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lits_deploy.manifest_check import is_count, is_number
from lits_deploy.operating_point import ARGMAX
from lits_deploy.synthetic import MARK, is_synthetic

ARTIFACTS, IN_TRAINING = "artifacts", "in_training"

CLASSIFIER = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "liver_accuracy": "liver / no liver",
    "lesion_auroc": "lesion-slice AUROC",
}
"""Figures of a classifier: key → name, in reading order."""

COUNTS = ("slices", "patients", "failed", "left_out")


def figures_of(metrics: Mapping[str, Any], artifact: str, split: str) -> dict[str, Any] | None:
    """What was measured of an artifact on a split, or None: not measured.

    data, runtime, device: text; split_by: patient, slice or None; synthetic; slices, patients, failed, left_out
    (patients that it was trained on): counts; the figures of CLASSIFIER, or dice and iou [3] and pixel_error, each a
    number or None; confusion [3, 3]; rule: by which class 2 was given (`operating_point`), where not by argmax.
    """
    found: Any = metrics
    for key in (ARTIFACTS, artifact, split):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not all(is_count(found.get(key)) for key in COUNTS):
        return None
    if not found["slices"] or not all(isinstance(found.get(key), str) for key in ("data", "runtime", "device")):
        return None
    known = {key: found[key] for key in ("data", "runtime", "device", *COUNTS)}
    known |= {"split_by": found.get("split_by"), "synthetic": is_synthetic(found)}
    if (rule := found.get("rule", ARGMAX)) != ARGMAX:
        known["rule"] = str(rule)[:80]
    singles = [key for key in (*CLASSIFIER, "pixel_error") if key in found]
    classes = [key for key in ("dice", "iou") if key in found]
    rows: Any = found.get("confusion")
    sound = (
        known["split_by"] in ("patient", "slice", None)
        and all(_figure(found[key]) for key in singles)
        and all(_three(found[key]) and all(map(_figure, found[key])) for key in classes)
        and _three(rows)
        and all(_three(row) and all(map(is_count, row)) for row in rows)
    )
    sound = sound and (len(singles) >= len(CLASSIFIER) or len(classes) == 2)
    return {**known, **{key: found[key] for key in (*singles, *classes, "confusion")}} if sound else None


def measured_on(figures: Mapping[str, Any]) -> str:
    """What the figures are of: `data/test, 928 slices of 5 patients`, marked where that weakens them."""
    slices, patients = figures["slices"], figures["patients"]
    text = f"{figures['data']}, {slices:,} slice{'' if slices == 1 else 's'} of "
    text += f"{patients:,} patient{'' if patients == 1 else 's'}"
    if figures["failed"]:
        text += f" ({figures['failed']:,} more could not be used)"
    if figures["left_out"]:
        text += f", without {figures['left_out']:,} that it was trained on"
    if figures["split_by"] == "slice":
        text += ", SPLIT BY SLICE"
    return text + (f", {MARK}" if figures["synthetic"] else "")


def figures_line(figures: Mapping[str, Any]) -> str:
    """The figures in words, three digits each, as every page shows them."""
    if "dice" in figures:
        return "; ".join(
            f"{name}: " + ", ".join(f"{k} {number(value)}" for k, value in enumerate(figures[name.lower()]))
            for name in ("Dice", "IoU")
        )
    line = ", ".join(f"{name} {number(figures.get(key))}" for key, name in CLASSIFIER.items())
    return f"{line} (class 2 by {figures['rule']})" if "rule" in figures else line


def lesions_line(figures: Mapping[str, Any], *, abstains: bool = False) -> str | None:
    """How many slices with a lesion a classifier called one on its test split, and how often it was right when it did.

    figures: of the test split, by `figures_of`. abstains: whether unsure slices get no class in use; in these figures
    every slice has one. None where there are no such slices, and for segmentation.
    """
    rows = figures["confusion"]
    lesions, called = sum(rows[2]), sum(row[2] for row in rows)
    if "dice" in figures or not lesions:
        return None
    patients, people = figures["patients"], "phantom" if figures["synthetic"] else "patient"
    unseen = f"{patients:,} {people}{'' if patients == 1 else 's'} it had not seen"
    unseen = unseen if figures["split_by"] == "patient" else "its test split"
    text = f"Measured on {figures['slices']:,} slices of {unseen}: "
    if called:
        text += (
            f"of 100 slices with a lesion it called {100 * rows[2][2] / lesions:.0f} a lesion, and of 100 slices it "
            f"called a lesion, {100 * rows[2][2] / called:.0f} had one."
        )
    else:
        text += f"it called no slice a lesion, though {lesions:,} have one."
    if abstains and figures.get("rule", ARGMAX) == ARGMAX:
        text += " There every slice got a class; where unsure slices abstain, it finds no more than that."
    return text


def number(value: float | None) -> str:
    """A figure with three digits."""
    return "not defined" if value is None else f"{value:.3f}"


def _three(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3


def _figure(value: object) -> bool:
    return value is None or is_number(value)
