"""evaluation.html: one page that a browser opens without a network, scripts or other files, on a phone and on paper.

The document goes through a Jinja template with autoescape: file names and classes are text, never markup.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.evaluation import words
from benchmarks.evaluation.plots import bar, plots
from benchmarks.report import DASH, number
from lits_deploy.pages import render


def page(document: dict[str, Any]) -> str:
    """The whole page as text."""
    return render(
        Path(__file__).parent, d=document, f=document["figures"], subject_line=words.subject_line(document),
        data_line=words.data_line(document), statements=statements(document), plots=plots(document), bar=bar,
        words=words, dash=DASH,
        filters={"number": number, "span": words.span, "percent": words.percent, "threshold": words.threshold},
    )  # fmt: skip


def statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What the network can and cannot do, in plain sentences: title, figure, without (guessing), text."""
    return _of_classifier(document) if document["task"] == "classify" else _of_unet(document)


def _of_classifier(document: dict[str, Any]) -> list[dict[str, Any]]:
    figures = document["figures"]
    liver, lesion, chance = figures["liver"], figures["classes"][2], figures["without_looking"]
    patients = figures["patient_level"]
    told = (
        f" Over whole patients, the highest p2 ranks those with lesions with AUROC {number(patients['auroc'])}."
        if patients["auroc"] is not None
        else ""
    )
    return [
        {
            "title": "Is there liver in the slice?", "name": "right answers", "figure": figures["liver_accuracy"],
            "without": None,
            "text": f"It finds {_of_100(liver['sensitivity'])} of 100 slices that show liver, and leaves "
            f"{_of_100(liver['specificity'])} of 100 slices without liver alone."
            + _weakest(document, "liver_accuracy"),
        },
        {
            "title": "Is there a lesion in it?", "name": "AUROC", "figure": lesion["auroc"],
            "without": chance["lesion_auroc"],
            "text": f"It calls {_of_100(lesion['sensitivity'])} of 100 lesion slices a lesion, and "
            f"{_of_100(lesion['specificity'])} of 100 others not. Of 100 slices that it calls a lesion, "
            f"{_of_100(lesion['precision'])} have one.{told}"
            + _weakest(document, "lesion_auroc"),
        },
        {
            "title": "Which of the three classes?", "name": "balanced accuracy", "figure": figures["balanced_accuracy"],
            "without": chance["balanced_accuracy"],
            "text": f"{words.percent(figures['accuracy']['value'])} of the slices get the right class; always giving "
            f"the commonest class would get {words.percent(chance['accuracy'])}.",
        },
        _confidence(figures),
    ]  # fmt: skip


def _confidence(figures: dict[str, Any]) -> dict[str, Any]:
    calibration, abstention = figures["calibration"], figures["abstention"]
    after = calibration["after"]
    error, gap = after["expected_calibration_error"], after["mean_confidence"] - abstention["accuracy_all"]
    lean = (
        "on the whole too sure of itself"
        if gap > 0.02
        else "on the whole too modest"
        if gap < -0.02
        else ("on the whole as sure as it is right")
    )
    text = (
        f"Its probability is off by {words.percent(error)} on average (calibration error, "
        f"{'calibrated' if calibration['temperature'] != 1.0 else 'uncalibrated'}); it is {lean}: mean confidence "
        f"{words.percent(after['mean_confidence'])}, accuracy {words.percent(abstention['accuracy_all'])}."
    )
    if abstention["below"] is None:
        return {
            "title": "Does it know when it is unsure?", "name": "slices answered", "figure": abstention["coverage"],
            "without": None, "text": f"{text} It brings no abstain threshold: every slice gets an answer.",
        }  # fmt: skip
    text += (
        f" Abstaining below {abstention['below']:.3f} it answers {words.percent(abstention['coverage']['value'])} of "
        f"the slices, {words.percent(abstention['accuracy_answered']['value'])} of them right."
    )
    if abstention["accuracy_abstained"] is not None:
        text += f" Of those it left out it would have had {words.percent(abstention['accuracy_abstained'])} right."
    return {
        "title": "Does it know when it is unsure?", "name": "accuracy of answered",
        "figure": abstention["accuracy_answered"], "without": None, "text": text,
    }  # fmt: skip


def _of_unet(document: dict[str, Any]) -> list[dict[str, Any]]:
    figures = document["figures"]
    _, _, lesion, whole = figures["regions"]
    cards = [
        _overlap("Does it outline the liver?", "Dice, liver with its lesions", whole),
        _overlap("Does it outline the lesions?", "Dice, lesions", lesion),
    ]
    if figures["lesions"] is not None:
        found = figures["lesions"]
        how = (
            "in 3-D"
            if not found["patients_in_2d"]
            else "slice by slice"
            if not found["patients_in_3d"]
            else (f"in 3-D for {found['patients_in_3d']} patients, slice by slice for {found['patients_in_2d']}")
        )
        cards.append(
            {
                "title": "Does it find the lesions?", "name": "lesions touched", "figure": found["recall"],
                "without": None,
                "text": f"It touches {found['found']:,} of {found['lesions']:,} lesions (counted {how}), and draws "
                f"{found['false']:,} that are none. Touched is not outlined: one pixel is enough.",
            }
        )  # fmt: skip
    wrong, blank = figures["pixel_error"], figures["without_looking"]["pixel_error"]
    low, high = (None if wrong[end] is None else 1 - wrong[end] for end in ("high", "low"))
    cards.append(
        {
            "title": "How many pixels are right?", "name": "of all pixels", "without": 1 - blank,
            "figure": {"value": 1 - wrong["value"], "low": low, "high": high},
            "text": f"{words.percent(wrong['value'], 2)} of the pixels are wrong; calling everything background would "
            f"get {words.percent(blank, 2)} wrong, so this figure says little by itself.",
        }
    )  # fmt: skip
    return cards


def _overlap(title: str, name: str, region: dict[str, Any]) -> dict[str, Any]:
    dice, distance = region["dice"], region["hd95_mm"]
    if dice["patient_minimum"] is None:
        text = "No patient has it, in the target or in the answer: not scored."
    else:
        text = (
            f"Mean of {words.patients(dice['patients_scored'])}: {number(dice['patient_mean']['value'])}; "
            f"worst patient {dice['worst_patient']}: {number(dice['patient_minimum'])}."
        )
    if distance is not None and distance["patients_measured"]:
        text += f" 95 % of the outline lies within {number(distance['patient_mean']['value'], 1)} mm (HD95)."
    return {"title": title, "name": f"{name}, all pixels", "figure": dice["global"], "without": None, "text": text}


def _of_100(figure: dict[str, float | None]) -> str:
    return DASH if figure["value"] is None else f"{100 * figure['value']:.0f}"


def _weakest(document: dict[str, Any], key: str) -> str:
    """A sentence on the patient of the lowest figure, where there are several."""
    rows = [row for row in document["patients"] if row[key] is not None]
    if len(rows) < 2:
        return ""
    lowest = min(rows, key=lambda row: row[key])
    return f" Weakest patient: {lowest['patient']} ({number(lowest[key])})."
