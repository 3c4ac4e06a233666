"""The plots as PNG: ROC, precision–recall, reliability and confusion; for a U-Net Dice a patient and confusion.

Needs matplotlib. Draws from the document alone; every plot carries the split's mark and the disclaimer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.evaluation.words import data_line, number, subject_line
from lits_deploy.errors import MissingExtra
from lits_deploy.files import atomic_path
from lits_deploy.printable import plottable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#009E73", "#D55E00")
"""Okabe and Ito's, told apart by colour-blind readers too."""

GREY = "#555555"
_LINES = ("-", "--", "-.")

Document = dict[str, Any]


def draw(document: Document, out: Path) -> list[str]:
    """Write the plots into `out`; their names. Raises MissingExtra without matplotlib."""
    painters: dict[str, Callable[[Axes, Document], None]] = {
        "roc.png": _roc, "precision_recall.png": _precision_recall, "reliability.png": _reliability,
        "confusion.png": _confusion,
    }  # fmt: skip
    if document["task"] == "segment":
        painters = {"dice.png": _dice, "confusion.png": _confusion}
    document = plottable(document)
    for name, paint in painters.items():
        _save(document, out / name, paint)
    return list(painters)


def _save(document: Document, path: Path, paint: Callable[[Axes, Document], None]) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", "bench") from error
    figure = Figure(figsize=(6.4, 6.2), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    paint(axes, document)
    axes.spines[["top", "right"]].set_visible(False)
    lines = [subject_line(document), data_line(document), document["disclaimer"]]
    figure.text(0.02, 0.012, "\n".join(lines), fontsize=6.5, color=GREY, va="bottom")
    marks = [mark.partition(":")[0] for mark in document["marks"]]
    if marks:
        figure.text(0.98, 0.985, "; ".join(marks), fontsize=11, color="#B00020", weight="bold", ha="right", va="top")
    figure.tight_layout(rect=(0, 0.07, 1, 0.97 if marks else 1))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")


def _unit(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _roc(axes: Axes, document: Document) -> None:
    _unit(axes, "1 − specificity (false alarms)", "sensitivity (found)")
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=0.8, linestyle=":")
    for k, line in enumerate(document["curves"]):
        area = number(document["figures"]["classes"][k]["auroc"]["value"])
        label = f"{line['class']}: AUROC {area}"
        _curve(axes, k, line["false_alarm_rate"], line["sensitivity"], label)
    axes.set_title("ROC, each class against the rest", loc="left", fontsize=11)
    axes.legend(loc="lower right", frameon=False, fontsize=9)


def _precision_recall(axes: Axes, document: Document) -> None:
    _unit(axes, "sensitivity (recall)", "precision")
    for k, line in enumerate(document["curves"]):
        found = document["figures"]["classes"][k]
        share = found["slices"] / max(1, document["figures"]["slices"])
        axes.axhline(share, color=COLOURS[k], linewidth=0.7, linestyle=":")
        label = f"{line['class']}: average precision {number(found['average_precision']['value'])} (share {share:.2f})"
        _curve(axes, k, line["sensitivity"], line["precision"], label)
    axes.set_title("Precision and recall, each class against the rest", loc="left", fontsize=11)
    axes.legend(loc="lower left", frameon=False, fontsize=9)


def _curve(axes: Axes, k: int, x: list[float | None], y: list[float | None], label: str) -> None:
    """A line; a class that does not occur has no points but its label."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
    across, up = [a for a, _ in points], [b for _, b in points]
    axes.plot(across, up, label=label, linewidth=1.8, color=COLOURS[k % 3], linestyle=_LINES[k % 3])


def _reliability(axes: Axes, document: Document) -> None:
    calibration = document["figures"]["calibration"]
    _unit(axes, "confidence: the highest probability", "accuracy")
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=0.8, linestyle=":")
    series = [("before", "as trained (T = 1)", COLOURS[2], "o--")]
    if calibration["temperature"] != 1.0:
        series.append(("after", f"calibrated (T = {calibration['temperature']:.2f})", COLOURS[0], "s-"))
    for key, name, colour, mark in series:
        bins = [found for found in calibration[key]["reliability"] if found["count"]]
        error = number(calibration[key]["expected_calibration_error"])
        confidence, accuracy = [found["confidence"] for found in bins], [found["accuracy"] for found in bins]
        axes.plot(confidence, accuracy, mark, color=colour, linewidth=1.2, markersize=4, label=f"{name}: ECE {error}")
        total = sum(found["count"] for found in bins)
        sizes = [1200 * found["count"] / total for found in bins]
        axes.scatter(confidence, accuracy, s=sizes, color=colour, alpha=0.18, linewidths=0, clip_on=False)
    axes.set_title("Reliability: 15 bins, area of a disc = share of slices", loc="left", fontsize=11)
    axes.legend(loc="upper left", frameon=False, fontsize=9)


def _confusion(axes: Axes, document: Document) -> None:
    segment = document["task"] == "segment"
    matrix = np.array(document["figures"]["confusion_pixels" if segment else "confusion"], dtype=np.float64)
    names = ["background", "liver", "lesion"] if segment else document["subject"]["classes"]
    rows = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, rows, out=np.zeros_like(matrix), where=rows > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(matrix):
        text = f"{value:,.0f}\n{share[i, j]:.1%}"
        axes.text(j, i, text, ha="center", va="center", color="white" if share[i, j] > 0.55 else "#222222", fontsize=10)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names, rotation=90, va="center")
    axes.set_xlabel("answer")
    axes.set_ylabel("target")
    axes.set_title(f"Confusion: {'pixels' if segment else 'slices'}, share of each row", loc="left", fontsize=11)


def _dice(axes: Axes, document: Document) -> None:
    regions = [("dice_liver", "liver"), ("dice_lesion", "lesion"), ("dice_liver_with_lesion", "liver with lesion")]
    rows = document["patients"]
    for k, (key, name) in enumerate(regions):
        points = [(i, row[key]) for i, row in enumerate(rows) if row[key] is not None]
        axes.plot([i for i, _ in points], [v for _, v in points], "osD"[k], color=COLOURS[k], label=name, alpha=0.85)
    step = max(1, len(rows) // 20)
    axes.set_xticks(range(0, len(rows), step), [row["patient"] for row in rows[::step]], rotation=90, fontsize=8)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("patient")
    axes.set_ylabel("Dice over the patient's slices")
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.7)
    axes.set_title("Dice, patient by patient", loc="left", fontsize=11)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.05), ncols=3, frameon=False, fontsize=9)
