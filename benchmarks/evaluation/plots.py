"""The plots of an evaluation, described once from the document: the page draws them as SVG, `png` as PNG.

ROC, precision and recall, reliability; for a U-Net Dice, patient by patient. And the page's gauges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from benchmarks.drawing import Axis, Plot, Points, Series
from benchmarks.report import number
from train.data.spread import evenly

STYLES = ("c0 dotted", "c2 dashed", "c1")
"""Of the classes 0…2, told apart without colours too."""

UNIT, SQUARE = Axis(0.0, 1.0), (374.0, 360.0)
DIAGONAL = Series(points=[(0, 0), (1, 1)], style="grey guess")

NAMES = 20
"""Patients at most that are named below a plot."""

Document = dict[str, Any]


def plots(document: Document) -> dict[str, Plot]:
    """By name, which is also that of the PNG file."""
    if document["task"] == "segment":
        return {"dice": _dice(document)}
    return {
        "roc": _roc(document), "precision_recall": _precision_recall(document), "reliability": _reliability(document)
    }  # fmt: skip


def _roc(document: Document) -> Plot:
    """Sensitivity over false alarms of each class, the diagonal of guessing, and the lesion's operating points."""
    figures, series = document["figures"], [DIAGONAL]
    for style, line, of_class in zip(STYLES, document["curves"], figures["classes"], strict=True):
        label = f"{line['class']}: AUROC {number(of_class['auroc']['value'])}"
        points = _known(line["false_alarm_rate"], line["sensitivity"])
        series.append(Series(points=points, style=style, label=label))
    found = [point["point"] for point in figures["operating_points"] if point["score"] == "p2" and point["point"]]
    rings = [(1 - point["specificity"], point["sensitivity"]) for point in found]
    series.append(Series(points=rings, style="c1", line=False, radius=[5] * len(rings), mark="ring"))
    return _square("ROC, each class against the rest", "false alarms (1 − specificity)", "found (sensitivity)", series)


def _precision_recall(document: Document) -> Plot:
    """Precision over sensitivity of each class; dotted: the share of the class, which guessing gets."""
    figures, series = document["figures"], []
    for style, line, of_class in zip(STYLES, document["curves"], figures["classes"], strict=True):
        share = of_class["slices"] / max(1, figures["slices"])
        label = f"{line['class']}: average precision {number(of_class['average_precision']['value'])}"
        series.append(Series(points=[(0, share), (1, share)], style=f"{style[:2]} guess"))
        series.append(Series(points=_known(line["sensitivity"], line["precision"]), style=style, label=label))
    title = "Precision and recall, each class against the rest"
    return _square(title, "found (sensitivity)", "right among flagged (precision)", series)


def _reliability(document: Document) -> Plot:
    """Accuracy over confidence before and after the temperature; a disc's area is its share of the slices."""
    calibration, series = document["figures"]["calibration"], [DIAGONAL]
    kinds = [("before", "as trained", "c1 dashed"), ("after", f"T = {calibration['temperature']:.2f}", "c0")]
    for key, name, style in kinds[: 1 if calibration["temperature"] == 1.0 else 2]:
        bins = [found for found in calibration[key]["reliability"] if found["count"]]
        total = sum(found["count"] for found in bins)
        series.append(
            Series(
                points=[(found["confidence"], found["accuracy"]) for found in bins], style=style, mark="disc",
                label=f"{name}: ECE {number(calibration[key]['expected_calibration_error'])}",
                radius=[2.2 + 20 * (found["count"] / total) ** 0.5 for found in bins],
                titles=[
                    f"{found['count']:,} slices: confidence {found['confidence']:.2f}, accuracy {found['accuracy']:.2f}"
                    for found in bins
                ],
            )
        )  # fmt: skip
    title = "Reliability: 15 bins, area of a disc = share of slices"
    return _square(title, "confidence (highest probability)", "accuracy", series)


def _dice(document: Document) -> Plot:
    """Dice of each patient, one column each, for liver, lesion and both."""
    rows, series = document["patients"], []
    named = evenly([(float(rank), row["patient"]) for rank, row in enumerate(rows)], NAMES)
    for number_, key in enumerate(("dice_liver", "dice_lesion", "dice_liver_with_lesion")):
        known = [(rank, row) for rank, row in enumerate(rows) if row[key] is not None]
        series.append(
            Series(
                points=[(rank, row[key]) for rank, row in known], style=f"c{number_}", line=False,
                label=key.removeprefix("dice_").replace("_", " "), radius=[5] * len(known),
                titles=[f"{row['patient']}: {row[key]:.3f}" for _, row in known],
            )
        )  # fmt: skip
    return Plot(
        x=Axis(-0.5, len(rows) - 0.5, named=named), y=UNIT, x_name="patients, as in the table", y_name="Dice",
        title="Dice, patient by patient", series=series, size=SQUARE,
    )  # fmt: skip


def bar(figure: dict[str, float | None], without: float | None = None) -> Markup:
    """A gauge from 0 to 1 with the value, its interval as a whisker, and a tick for what guessing gets."""
    value, low, high = figure["value"], figure["low"], figure["high"]
    parts = ['<rect class="track" x="0" y="5" width="200" height="8" rx="4"/>']
    if value is not None:
        parts.append(f'<rect class="fill" x="0" y="5" width="{200 * value:.1f}" height="8" rx="4"/>')
    if low is not None and high is not None:
        parts.append(f'<path class="whisker" d="M{200 * low:.1f} 5v8m0 -4H{200 * high:.1f}m0 -4v8"/>')
    if without is not None:
        parts.append(f'<path class="chance" d="M{200 * without:.1f} 1v16"/>')
    frame = 'class="bar" viewBox="0 0 202 18" preserveAspectRatio="xMinYMid" aria-hidden="true"'
    return Markup(f"<svg {frame}>{''.join(parts)}</svg>")


def _square(title: str, x_name: str, y_name: str, series: Sequence[Series]) -> Plot:
    return Plot(x=UNIT, y=UNIT, x_name=x_name, y_name=y_name, title=title, series=series, size=SQUARE)


def _known(x: Sequence[float | None], y: Sequence[float | None]) -> Points:
    return [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
