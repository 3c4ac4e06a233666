"""The document of an evaluation as words and table cells: for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.report import DASH, Table, number
from export.bootstrap import Figure
from lits_deploy.operating_point import Patients, Share
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
    if subject["kind"] == "folds":
        epochs = sorted(set(subject["epochs"]))
        after = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
        return (
            f"{subject['model']}, folded run {subject['name']}: {subject['folds']} networks after {after} epochs, each "
            "on the patients that it never saw"
        )
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
        f"{data_name(document)}: {data['slices']:,}{synthetic} slices of {patients(data['patients'])}, "
        f"{split[data['split_by']]}{failed}"
    )


def data_name(document: dict[str, Any]) -> str:
    """The split, or what stands for one."""
    data = document["data"]
    return (
        f"{data['name']}, {data['split']}"
        if document["subject"]["kind"] == "folds"
        else f"{data['name']}/{data['split']}"
    )


def overview(document: dict[str, Any]) -> Table:
    """The figures to read first, with their interval and what one gets without looking at the slices."""
    figures = document["figures"]
    header = ["figure", "value", "95 % interval", "without looking"]
    return header, _classifier(figures) if document["task"] == "classify" else _unet(figures)


def confusion(document: dict[str, Any]) -> Table:
    """Counts of slices, rows = target."""
    classes = document["subject"]["classes"]
    counts = zip(classes, document["figures"]["confusion"], strict=True)
    return ["target ↓ answer →", *classes], [[name, *(f"{n:,}" for n in row)] for name, row in counts]


def per_patient(document: dict[str, Any]) -> Table:
    """One row a patient, the columns that fit a screen."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {"patient": _cell("patient")}
    if document["subject"]["kind"] == "folds":
        columns["fold"] = _cell("fold", 0)
    columns["slices"] = _cell("slices", 0)
    if document["task"] == "classify":
        columns |= {"accuracy": _cell("accuracy"), "balanced": _cell("balanced_accuracy")}
        columns |= {"liver accuracy": _cell("liver_accuracy"), "lesion AUROC": _cell("lesion_auroc")}
        columns |= {
            "has lesion": lambda row: "yes" if row["has_lesion"] else "no",
            "highest lesion probability": _cell("max_p2"),
        }
    else:
        columns |= {"Dice liver": _cell("dice_liver"), "lesion": _cell("dice_lesion")}
        columns |= {"liver with lesion": _cell("dice_liver_with_lesion")}
        columns |= {"HD95 mm": _cell("hd95_mm_liver_with_lesion", 1), "lesions found": found}
    return list(columns), [[cell(row) for cell in columns.values()] for row in document["patients"]]


def promises(document: dict[str, Any]) -> Table:
    """A row for each rule that `export` keeps, of a folded run: what it finds and marks on others than set it."""
    rows = []
    for point in document["figures"]["promises"]:
        found, spared = (Share.from_json(point[name]) for name in ("sensitivity", "specificity"))
        p = Patients(**point["patients"])
        patients = (f"{p.found} of {p.with_lesion}", f"{p.marked} of {p.without}")
        rows.append([point["rule"], found.per_hundred(), spared.rest.per_hundred(), *patients])
    return [
        "rule",
        "found of 100 lesion slices",
        "marked of 100 others",
        "patients with a lesion: found",
        "patients without: marked",
    ], rows


_FOLDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "liver_accuracy": "liver accuracy",
    "lesion_sensitivity": "lesion sensitivity",
    "lesion_auroc": "lesion AUROC",
    "dice_liver": "Dice liver",
    "dice_lesion": "Dice lesion",
}


def by_fold(document: dict[str, Any]) -> Table:
    """A row for each fold of a folded run, and their spread."""
    rows, spread = document["folds"]["rows"], document["folds"]["spread"]
    names = [name for name in _FOLDS if name in rows[0]]
    cells = [
        [str(row["fold"]), str(row["patients"]), f"{row['slices']:,}", *(number(row[name]) for name in names)]
        for row in rows
    ]
    ends = {"mean": "mean", "sd": "standard deviation", "low": "lowest", "high": "highest"}
    cells += [
        [end, "", "", *(number(spread[name][key] if name in spread else None) for name in names)]
        for key, end in ends.items()
    ]
    return ["fold", "patients", "slices", *(_FOLDS[name] for name in names)], cells


def _cell(name: str, digits: int = 3) -> Callable[[dict[str, Any]], str]:
    return lambda row: row[name] if isinstance(row[name], str) else number(row[name], digits)


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
    kinds = {", T = 1": before, f", T = {calibration['temperature']:.2f}": after}
    for at, errors in (kinds if calibration["temperature"] != 1.0 else {"": before}).items():
        error = number(errors["expected_calibration_error"])
        rows.append([f"calibration error (ECE){at}", error, DASH, ""])
    if abstention["below"] is not None:
        rows.append(_row("classified: above the abstain threshold", abstention["coverage"], ""))
        rows.append(_row("accuracy of those classified", abstention["accuracy_answered"], ""))
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
