"""The files of an evaluation, each whole or not at all; plots are drawn where matplotlib is installed.

evaluation.json   the document (`run`)
slices.csv        classifier: path, patient, status, reason, split_by, target, label, p0–p2 (calibrated), uncertain;
                  U-Net: path … label (largest label), Dice of liver, lesion and both, pixel_error; of a folded run
                  also fold
patients.csv      one row a patient
evaluation.html   one page that a browser opens without a network, scripts or other files, on a phone and on paper; the
                  document goes through a Jinja template with autoescape: file names and classes are text, never markup
*.png             the same plots, and the confusion matrix
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.evaluation import formatting
from benchmarks.evaluation.plots import bar, plots
from benchmarks.evaluation.run import Evaluation
from benchmarks.report import DASH, number
from benchmarks.report_files import check_out, csv_of, writing
from export.bootstrap import Figure
from lits_deploy.errors import MissingExtra
from lits_deploy.files import write_json, write_text
from lits_deploy.pages import render


def page(document: dict[str, Any]) -> str:
    """The whole page as text."""
    return render(
        Path(__file__).parent,
        d=document,
        f=document["figures"],
        subject_line=formatting.subject_line(document),
        data_line=formatting.data_line(document),
        statements=statements(document),
        plots=plots(document),
        bar=bar,
        formatting=formatting,
        dash=DASH,
        filters={
            "number": number,
            "span": formatting.span,
            "percent": formatting.percent,
            "threshold": formatting.threshold,
        },
    )


def statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What the network can and cannot do, in plain sentences: title, figure, without (guessing), text."""
    return _of_classifier(document) if document["task"] == "classify" else _of_unet(document)


def _card(title: str, name: str, figure: Figure, text: str, without: float | None = None) -> dict[str, Any]:
    return {"title": title, "name": name, "figure": figure, "without": without, "text": text}


def _of_classifier(document: dict[str, Any]) -> list[dict[str, Any]]:
    figures = document["figures"]
    liver, lesion, chance = figures["liver"], figures["classes"][2], figures["without_looking"]
    ranks = figures["patient_level"]["auroc"]
    ranking = (
        f" Ranking whole patients by their highest lesion probability gives AUROC {number(ranks)}; "
        "guessing gives 0.500."
    )
    spread = document.get("folds", {}).get("spread", {}).get("lesion_sensitivity")
    by_fold = f" (from fold to fold {100 * spread['low']:.0f} to {100 * spread['high']:.0f})" if spread else ""
    return [
        _card(
            "Is there liver in the slice?",
            "right answers",
            figures["liver_accuracy"],
            f"It finds {_of_100(liver['sensitivity'])} of 100 slices that show liver, and leaves "
            f"{_of_100(liver['specificity'])} of 100 slices without liver alone."
            + _weakest(document, "liver_accuracy"),
        ),
        _card(
            "Is there a lesion in it?",
            "AUROC",
            lesion["auroc"],
            f"It calls {_of_100(lesion['sensitivity'])} of 100 lesion slices a lesion{by_fold}, and "
            f"{_of_100(_rest(lesion['specificity']))} of 100 others, too. Of 100 slices that it calls a lesion, "
            f"{_of_100(lesion['precision'])} have one.{'' if ranks is None else ranking}"
            + _weakest(document, "lesion_auroc"),
            chance["lesion_auroc"],
        ),
        _card(
            "Which of the three classes?",
            "balanced accuracy",
            figures["balanced_accuracy"],
            f"{formatting.percent(figures['accuracy']['value'])} of the slices get the right class; always giving "
            f"the commonest class would get {formatting.percent(chance['accuracy'])}.",
            chance["balanced_accuracy"],
        ),
        _confidence(figures["calibration"], figures["abstention"]),
    ]


def _confidence(calibration: dict[str, Any], abstention: dict[str, Any]) -> dict[str, Any]:
    after, title = calibration["after"], "Does it know when it is unsure?"
    gap = after["mean_confidence"] - abstention["accuracy_all"]
    lean = "too sure of itself" if gap > 0.02 else "too modest" if gap < -0.02 else "as sure as it is right"
    text = (
        f"Its probability is off by {formatting.percent(after['expected_calibration_error'])} on average (calibration "
        f"error, {'calibrated' if calibration['temperature'] != 1.0 else 'uncalibrated'}); it is on the whole {lean}: "
        f"mean confidence {formatting.percent(after['mean_confidence'])}, accuracy "
        f"{formatting.percent(abstention['accuracy_all'])}."
    )
    if abstention["below"] is None:
        text += " It brings no abstain threshold: every slice gets a class."
        return _card(title, "slices classified", abstention["coverage"], text)
    text += (
        f" Abstaining below {abstention['below']:.3f} it classifies "
        f"{formatting.percent(abstention['coverage']['value'])} of the slices, "
        f"{formatting.percent(abstention['accuracy_answered']['value'])} of them right."
    )
    if abstention["accuracy_abstained"] is not None:
        text += f" Of those it left out it would have had {formatting.percent(abstention['accuracy_abstained'])} right."
    return _card(title, "accuracy of those classified", abstention["accuracy_answered"], text)


def _of_unet(document: dict[str, Any]) -> list[dict[str, Any]]:
    figures = document["figures"]
    _, _, lesion, whole = figures["regions"]
    cards = [
        _overlap("Does it outline the liver?", "Dice, liver with its lesions", whole),
        _overlap("Does it outline the lesions?", "Dice, lesions", lesion),
    ]
    if found := figures["lesions"]:
        solid, flat = found["patients_in_3d"], found["patients_in_2d"]
        how = f"in 3-D for {solid} patients, slice by slice for {flat}"
        how = how if solid and flat else "in 3-D" if solid else "slice by slice"
        text = (
            f"It touches {found['found']:,} of {found['lesions']:,} lesions (counted {how}), and draws "
            f"{found['false']:,} that are none. Touched is not outlined: one pixel is enough."
        )
        cards.append(_card("Does it find the lesions?", "lesions touched", found["recall"], text))
    wrong, blank = figures["pixel_error"], figures["without_looking"]["pixel_error"]
    ends = {"value": "value", "low": "high", "high": "low"}
    right = {name: None if wrong[end] is None else 1 - wrong[end] for name, end in ends.items()}
    text = (
        f"{formatting.percent(wrong['value'], 2)} of the pixels are wrong; calling everything background would "
        f"get {formatting.percent(blank, 2)} wrong, so this figure says little by itself."
    )
    return [*cards, _card("How many pixels are right?", "of all pixels", right, text, 1 - blank)]


def _overlap(title: str, name: str, region: dict[str, Any]) -> dict[str, Any]:
    dice, distance = region["dice"], region["hd95_mm"]
    text = "No patient has it, in the target or in the answer: not scored."
    if dice["patient_minimum"] is not None:
        text = (
            f"Mean of {formatting.patients(dice['patients_scored'])}: {number(dice['patient_mean']['value'])}; "
            f"worst patient {dice['worst_patient']}: {number(dice['patient_minimum'])}."
        )
    if distance is not None and distance["patients_measured"]:
        text += f" 95 % of the outline lies within {number(distance['patient_mean']['value'], 1)} mm (HD95)."
    return _card(title, f"{name}, all pixels", dice["global"], text)


def _rest(figure: Figure) -> Figure:
    """The share of the others."""
    return {**figure, "value": None if figure["value"] is None else 1 - figure["value"]}


def _of_100(figure: Figure) -> str:
    return DASH if figure["value"] is None else f"{100 * figure['value']:.0f}"


def _weakest(document: dict[str, Any], key: str) -> str:
    """A sentence on the patient of the lowest figure, where there are several."""
    rows = [row for row in document["patients"] if row[key] is not None]
    if len(rows) < 2:
        return ""
    lowest = min(rows, key=lambda row: row[key])
    return f" Weakest patient: {lowest['patient']} ({number(lowest[key])})."


JSON, SLICES, PATIENTS, PAGE = "evaluation.json", "slices.csv", "patients.csv", "evaluation.html"
PLOTS = ("roc.png", "precision_recall.png", "reliability.png", "confusion.png", "dice.png")

_COMMON = ("path", "patient", "scan", "status", "reason", "split_by", "target", "label")
SLICE_COLUMNS = {
    "classify": (*_COMMON, "p0", "p1", "p2", "uncertain"),
    "segment": (*_COMMON, "dice_liver", "dice_lesion", "dice_liver_with_lesion", "pixel_error"),
}


def write_report(evaluation: Evaluation, out: Path) -> tuple[list[str], str | None]:
    """Write everything into `out`: the files' names, and why there are no plots, or None.

    Plots of an earlier evaluation that are not drawn now are removed. Raises OutputError.
    """
    check_out(out, JSON, "an evaluation")
    document, task = evaluation.document, evaluation.document["task"]
    split_by = document["data"]["split_by"]
    patients = [{"split_by": split_by, **row} for row in document["patients"]]
    header = ["patient", "split_by", *(name for name in patients[0] if name not in ("patient", "split_by"))]
    with writing(out):
        for name in PLOTS:
            (out / name).unlink(missing_ok=True)
        write_json(out / JSON, document)  # first: it marks the folder as ours
        columns = (*SLICE_COLUMNS[task], *(["fold"] if "folds" in document else []))
        write_text(out / SLICES, csv_of(columns, evaluation.slices, _cell))
        write_text(out / PATIENTS, csv_of(header, patients, _cell))
        write_text(out / PAGE, page(document))
        names = [JSON, SLICES, PATIENTS, PAGE]
        try:
            from benchmarks.evaluation.plots import draw

            return [*names, *draw(document, out)], None
        except MissingExtra as error:
            return names, f"no PNG plots (the page has its own): {error}"


def _cell(value: Any) -> str:
    """Empty where it is not known; numbers in full."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.7g}" if isinstance(value, float) else str(value)
