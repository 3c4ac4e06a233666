"""The plots of an evaluation, described once from the document: the page draws them as SVG, `draw` as PNG.

ROC, precision and recall, reliability; for a U-Net Dice, patient by patient. And the page's gauges, and the confusion
matrix. PNG needs matplotlib; every picture carries the split's mark and the disclaimer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from benchmarks.drawing import Axis, Plot, PlotSeries, Points
from benchmarks.evaluation.formatting import data_line, subject_line
from benchmarks.report import number
from lits_deploy.cli.extras import needs
from lits_deploy.files import atomic_path
from lits_deploy.printable import plottable
from train.data.spread import evenly

if TYPE_CHECKING:
    from matplotlib.axes import Axes


STYLES = ("c0 dotted", "c2 dashed", "c1")
"""Of the classes 0…2, told apart without colours too."""

UNIT, SQUARE = Axis(0.0, 1.0), (374.0, 360.0)
DIAGONAL = PlotSeries(points=[(0, 0), (1, 1)], style="grey guess")

NAMES = 20
"""Patients at most that are named below a plot."""

Document = dict[str, Any]


def plots(document: Document) -> dict[str, Plot]:
    """By name, which is also that of the PNG file."""
    if document["task"] == "segment":
        return {"dice": _dice(document)}
    return {
        "roc": _roc(document),
        "precision_recall": _precision_recall(document),
        "reliability": _reliability(document),
    }


def _roc(document: Document) -> Plot:
    """Sensitivity over false alarms of each class, the diagonal of guessing, and the lesion's operating points."""
    figures, series = document["figures"], [DIAGONAL]
    for style, line, of_class in zip(STYLES, document["curves"], figures["classes"], strict=True):
        label = f"{line['class']}: AUROC {number(of_class['auroc']['value'])}"
        points = _known(line["false_alarm_rate"], line["sensitivity"])
        series.append(PlotSeries(points=points, style=style, label=label))
    found = [point["point"] for point in figures["operating_points"] if point["score"] == "p2" and point["point"]]
    rings = [(1 - point["specificity"], point["sensitivity"]) for point in found]
    series.append(PlotSeries(points=rings, style="c1", line=False, radius=[5] * len(rings), mark="ring"))
    return _square("ROC, each class against the rest", "false alarms (1 − specificity)", "found (sensitivity)", series)


def _precision_recall(document: Document) -> Plot:
    """Precision over sensitivity of each class; dotted: the share of the class, which guessing gets."""
    figures, series = document["figures"], []
    for style, line, of_class in zip(STYLES, document["curves"], figures["classes"], strict=True):
        share = of_class["slices"] / max(1, figures["slices"])
        label = f"{line['class']}: average precision {number(of_class['average_precision']['value'])}"
        series.append(PlotSeries(points=[(0, share), (1, share)], style=f"{style[:2]} guess"))
        series.append(PlotSeries(points=_known(line["sensitivity"], line["precision"]), style=style, label=label))
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
            PlotSeries(
                points=[(found["confidence"], found["accuracy"]) for found in bins],
                style=style,
                mark="disc",
                label=f"{name}: ECE {number(calibration[key]['expected_calibration_error'])}",
                radius=[2.2 + 20 * (found["count"] / total) ** 0.5 for found in bins],
                titles=[
                    f"{found['count']:,} slices: confidence {found['confidence']:.2f}, accuracy {found['accuracy']:.2f}"
                    for found in bins
                ],
            )
        )
    title = "Reliability: 15 bins, area of a disc = share of slices"
    return _square(title, "confidence (highest probability)", "accuracy", series)


def _dice(document: Document) -> Plot:
    """Dice of each patient, one column each, for liver, lesion and both."""
    rows, series = document["patients"], []
    named = evenly([(float(rank), row["patient"]) for rank, row in enumerate(rows)], NAMES)
    for number_, key in enumerate(("dice_liver", "dice_lesion", "dice_liver_with_lesion")):
        known = [(rank, row) for rank, row in enumerate(rows) if row[key] is not None]
        series.append(
            PlotSeries(
                points=[(rank, row[key]) for rank, row in known],
                style=f"c{number_}",
                line=False,
                label=key.removeprefix("dice_").replace("_", " "),
                radius=[5] * len(known),
                titles=[f"{row['patient']}: {row[key]:.3f}" for _, row in known],
            )
        )
    return Plot(
        x=Axis(-0.5, len(rows) - 0.5, named=named),
        y=UNIT,
        x_name="patients, as in the table",
        y_name="Dice",
        title="Dice, patient by patient",
        series=series,
        size=SQUARE,
    )


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


def _square(title: str, x_name: str, y_name: str, series: Sequence[PlotSeries]) -> Plot:
    return Plot(x=UNIT, y=UNIT, x_name=x_name, y_name=y_name, title=title, series=series, size=SQUARE)


def _known(x: Sequence[float | None], y: Sequence[float | None]) -> Points:
    return [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]


COLOURS = {"c0": "#0072B2", "c1": "#CC5200", "c2": "#00875F"}
"""As the pages' style sheet has them on paper."""

GREY, GRID = "#555555", "#E4E4E4"


def draw(document: Document, out: Path) -> list[str]:
    """Write the plots into `out`; their names. Raises MissingExtra without matplotlib."""
    document = plottable(document)
    drawn: dict[str, Plot | None] = {**plots(document), "confusion": None}
    for name, plot in drawn.items():
        _save(document, plot, out / f"{name}.png")
    return [f"{name}.png" for name in drawn]


def _save(document: Document, plot: Plot | None, path: Path) -> None:
    with needs("bench"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(6.4, 6.2), dpi=150)
    axes = figure.subplots()
    if plot is None:
        _confusion(axes, document)
    else:
        _plot(axes, plot)
    axes.spines[["top", "right"]].set_visible(False)
    lines = [subject_line(document), data_line(document), document["disclaimer"]]
    figure.text(0.02, 0.012, "\n".join(lines), fontsize=6.5, color=GREY, va="bottom")
    marks = [mark.partition(":")[0] for mark in document["marks"]]
    if marks:
        figure.text(0.98, 0.985, "; ".join(marks), fontsize=11, color="#B00020", weight="bold", ha="right", va="top")
    figure.tight_layout(rect=(0, 0.07, 1, 0.97 if marks else 1))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _plot(axes: Axes, plot: Plot) -> None:
    for bounds, axis in ((axes.set_xlim, plot.x), (axes.set_ylim, plot.y)):
        bounds(axis.low - 0.01, axis.high + 0.01)
    for series in plot.series:
        _series(axes, series)
    if plot.x.named is not None:
        names = dict(plot.x.named)
        axes.set_xticks(list(names), list(names.values()), rotation=90, fontsize=8)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set(xlabel=plot.x_name, ylabel=plot.y_name)
    axes.set_title(plot.title, loc="left", fontsize=11)
    axes.legend(frameon=True, framealpha=0.8, edgecolor="none", fontsize=9)


def _series(axes: Axes, series: PlotSeries) -> None:
    colour, kinds = COLOURS.get(series.style[:2], "#AAAAAA"), series.style.split()
    x, y = [x for x, _ in series.points], [y for _, y in series.points]
    label = series.label or None
    if series.line:
        guess = "guess" in kinds
        stroke = "--" if "dashed" in kinds else ":" if guess or "dotted" in kinds else "-"
        axes.plot(x, y, stroke, color=colour, linewidth=0.8 if guess else 1.8, label=label)
        label = None
    if series.radius:
        face = "white" if series.mark == "ring" else colour
        alpha = 0.18 if series.mark == "disc" else 0.85
        sizes = [(1.5 * radius) ** 2 for radius in series.radius]
        axes.scatter(x, y, sizes, color=face, edgecolors=colour, alpha=alpha, clip_on=False, zorder=3, label=label)


def _confusion(axes: Axes, document: Document) -> None:
    from train.plots import draw_confusion

    segment = document["task"] == "segment"
    names = ["background", "liver", "lesion"] if segment else document["subject"]["classes"]
    matrix, unit = ("confusion_pixels", "pixels") if segment else ("confusion", "slices")
    draw_confusion(axes, document["figures"][matrix], names, title=f"Confusion: {unit}, share of each row")
