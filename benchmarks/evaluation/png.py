"""The plots as PNG, and the confusion matrix. Needs matplotlib.

Draws from the document alone; every picture carries the split's mark and the disclaimer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.drawing import Plot, Series
from benchmarks.evaluation.plots import plots
from benchmarks.evaluation.words import data_line, subject_line
from lits_deploy.errors import MissingExtra
from lits_deploy.files import atomic_path
from lits_deploy.printable import plottable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"c0": "#0072B2", "c1": "#CC5200", "c2": "#00875F"}
"""As the pages' style sheet has them on paper."""

GREY, GRID = "#555555", "#E4E4E4"

Document = dict[str, Any]


def draw(document: Document, out: Path) -> list[str]:
    """Write the plots into `out`; their names. Raises MissingExtra without matplotlib."""
    document = plottable(document)
    drawn: dict[str, Plot | None] = {**plots(document), "confusion": None}
    for name, plot in drawn.items():
        _save(document, plot, out / f"{name}.png")
    return [f"{name}.png" for name in drawn]


def _save(document: Document, plot: Plot | None, path: Path) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "bench") from error
    figure = Figure(figsize=(6.4, 6.2), dpi=150)
    FigureCanvasAgg(figure)
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


def _series(axes: Axes, series: Series) -> None:
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
