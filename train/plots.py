"""Figures of a run as PNG: learning curves and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lits_deploy.files import atomic_path
from lits_deploy.printable import plottable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def curves(rows: list[dict[str, Any]], path: Path, *, mark: str) -> None:
    """Loss and accuracy (for U-Net: Dice) over epochs, from the rows of metrics.csv. mark: of the latter's title."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for name, label in (("train_loss", "train"), ("validate_loss", "validate")):
        left.plot(epochs, [np.nan if row[name] is None else row[name] for row in rows], marker="o", label=label)
    left.set(title="Loss", xlabel="epoch", ylabel="cross-entropy")
    if rows and rows[-1].get("validate_dice1") is not None:
        lines: tuple[tuple[str, str], ...] = (("validate_dice1", "liver"), ("validate_dice2", "tumour"))
        right.set(title=f"Dice on validate{mark}", xlabel="epoch", ylim=(0, 1))
    else:
        lines = (
            ("train_accuracy", "train"),
            ("validate_accuracy", "validate"),
            ("validate_balanced_accuracy", "validate, balanced"),
        )
        right.set(title=f"Accuracy{mark}", xlabel="epoch", ylim=(0, 1))
    for name, label in lines:
        right.plot(epochs, [np.nan if row.get(name) is None else row[name] for row in rows], marker="o", label=label)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    save(figure, path)


def confusion(matrix: list[list[int]], classes: tuple[str, ...], path: Path, *, unit: str) -> None:
    """Confusion matrix, rows = target, each cell with its count and its share of the row."""
    figure = Figure(figsize=(5.6, 4.8), layout="constrained")
    axes = figure.subplots()
    draw_confusion(
        axes, matrix, [f"{index} {name}" for index, name in enumerate(plottable(classes))], title=f"Validate, {unit}"
    )
    save(figure, path)


def draw_confusion(axes: Axes, matrix: Any, names: Sequence[str], *, title: str) -> None:
    """Counts, rows = target, each with its share of the row; on the diagonal that is the per-class accuracy."""
    counts = np.asarray(matrix, dtype=np.int64)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, f"{count:,}\n{shares[row, column]:.1%}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), list(names), fontsize=8)
    axes.set_yticks(range(len(names)), list(names), fontsize=8, rotation=90, va="center")
    axes.set(title=title, xlabel="predicted", ylabel="target")
