"""The document of an evaluation as words and table cells: for the terminal and for the page."""

from __future__ import annotations

from typing import Any

from benchmarks.evaluation.figures import Figure
from benchmarks.report import DASH, Table, number
from lits_deploy.synthetic import MARK

Cells = list[list[str]]


def span(figure: Figure, digits: int = 3) -> str:
    """The interval `low … high`, or a dash."""
    low, high = figure["low"], figure["high"]
    return DASH if low is None or high is None else f"{low:.{digits}f} … {high:.{digits}f}"


def threshold(value: float | None) -> str:
    """A threshold with four digits, or as many as tell it from 0."""
    if value is None:
        return DASH
    return f"{value:.4f}" if value >= 0.001 else f"{value:.2g}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent, or a dash."""
    return DASH if value is None else f"{100 * value:.{digits}f} %"


def patients(count: int) -> str:
    """1 patient, 2 patients."""
    return f"{count:,} patient{'' if count == 1 else 's'}"


def subject_line(document: dict[str, Any]) -> str:
    """What was evaluated, in one line."""
    subject = document["subject"]
    runtime = subject["runtime"]
    version = str(runtime["version"]).partition("+")[0]
    where = f"{runtime['name']} {version} on {runtime['device']}"
    if subject["kind"] == "bundle":
        return (
            f"{subject['model']}, bundle {subject['name']} ({subject['bundle_sha256'][:12]}), "
            f"{subject['artifact']}, {where}"
        )
    return f"{subject['model']}, training run {subject['name']} ({subject['checkpoint_sha256'][:12]}), {where}"


def data_line(document: dict[str, Any]) -> str:
    """What it was evaluated on, in one line."""
    data = document["data"]
    split = {"patient": "split by patient", "slice": "SPLIT BY SLICE", None: "how it was split is not known"}
    failed = f", {data['failed']:,} more could not be used" if data["failed"] else ""
    synthetic = f" {MARK}" if data.get("synthetic") else ""
    return (
        f"{data['name']}/{data['split']}: {data['slices']:,}{synthetic} slices of {patients(data['patients'])}, "
        f"{split[data['split_by']]}{failed}"
    )


def overview(document: dict[str, Any]) -> Table:
    """The figures to read first, with their interval and what one gets without looking at the slices."""
    figures = document["figures"]
    header = ["figure", "value", "95 % interval", "without looking"]
    return header, _classifier(figures) if document["task"] == "classify" else _unet(figures)


def confusion(document: dict[str, Any]) -> Table:
    """Counts of slices, rows = target."""
    classes = document["subject"]["classes"]
    rows = document["figures"]["confusion"]
    return (
        ["target ↓ answer →", *classes],
        [[name, *(f"{n:,}" for n in row)] for name, row in zip(classes, rows, strict=True)],
    )


def per_patient(document: dict[str, Any]) -> Table:
    """One row a patient, the columns that fit a screen."""
    rows = document["patients"]
    if document["task"] == "classify":
        header = ["patient", "slices", "accuracy", "balanced", "liver accuracy", "lesion AUROC", "has lesion", "max p2"]
        return header, [
            [
                row["patient"], f"{row['slices']:,}", number(row["accuracy"]), number(row["balanced_accuracy"]),
                number(row["liver_accuracy"]), number(row["lesion_auroc"]), "yes" if row["has_lesion"] else "no",
                number(row["max_p2"]),
            ]
            for row in rows
        ]  # fmt: skip
    header = ["patient", "slices", "Dice liver", "lesion", "liver with lesion", "HD95 mm", "lesions found"]
    return header, [
        [
            row["patient"], f"{row['slices']:,}", number(row["dice_liver"]), number(row["dice_lesion"]),
            number(row["dice_liver_with_lesion"]), number(row["hd95_mm_liver_with_lesion"], 1), found(row),
        ]
        for row in rows
    ]  # fmt: skip


def found(row: dict[str, Any]) -> str:
    """Lesions of a patient: 3 of 5, and false ones beside it."""
    if row["lesions"] is None:
        return DASH
    false = f", {row['false_lesions']} false" if row["false_lesions"] else ""
    return f"{row['lesions_found']} of {row['lesions']}{false}"


def _classifier(figures: dict[str, Any]) -> Cells:
    chance, lesion = figures["without_looking"], figures["classes"][2]
    guessed = number(chance["lesion_average_precision"])
    calibration, abstention = figures["calibration"], figures["abstention"]
    rows = [
        _row("accuracy, 3 classes", figures["accuracy"], number(chance["accuracy"])),
        _row("balanced accuracy", figures["balanced_accuracy"], number(chance["balanced_accuracy"])),
        _row("liver/no-liver accuracy", figures["liver_accuracy"], ""),
        _row("lesion slices: sensitivity", lesion["sensitivity"], ""),
        _row("lesion slices: specificity", lesion["specificity"], ""),
        _row("lesion slices: AUROC", lesion["auroc"], number(chance["lesion_auroc"])),
        _row("lesion slices: average precision", lesion["average_precision"], guessed),
    ]
    for point in figures["operating_points"]:
        if point["score"] == "p2":
            name = f"{point['gives']} at {point['wanted']:.0%} {point['holds']}".replace("%", " %")
            rows.append(_row(f"lesion slices: {name}", point["figure"], ""))
    before, after = calibration["before"], calibration["after"]
    name = "expected_calibration_error"
    if calibration["temperature"] == 1.0:
        rows.append(["calibration error (ECE)", number(before[name]), DASH, ""])
    else:
        rows.append(["calibration error (ECE), T = 1", number(before[name]), DASH, ""])
        rows.append([f"calibration error (ECE), T = {calibration['temperature']:.2f}", number(after[name]), DASH, ""])
    if abstention["below"] is not None:
        rows.append(_row("answered above the abstain threshold", abstention["coverage"], ""))
        rows.append(_row("accuracy of those answered", abstention["accuracy_answered"], ""))
    return rows


def _unet(figures: dict[str, Any]) -> Cells:
    rows = []
    for region in figures["regions"][1:]:
        name, dice = region["name"], region["dice"]
        rows.append(_row(f"Dice {name}, global", dice["global"], ""))
        rows.append(_row(f"Dice {name}, mean of patients", dice["patient_mean"], ""))
        rows.append([f"Dice {name}, worst patient", number(dice["patient_minimum"]), DASH, ""])
        if region["hd95_mm"] is not None:
            rows.append(_row(f"HD95 {name}, mm, mean of patients", region["hd95_mm"]["patient_mean"], "", digits=1))
    blank = number(figures["without_looking"]["pixel_error"], 4)
    rows.append(_row("pixel error", figures["pixel_error"], blank, digits=4))
    if figures["lesions"] is not None:
        rows.append(_row("lesions found (recall)", figures["lesions"]["recall"], ""))
    return rows


def _row(name: str, figure: Figure, without: str, *, digits: int = 3) -> list[str]:
    return [name, number(figure["value"], digits), span(figure, digits), without]
