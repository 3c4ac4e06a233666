"""Drawing in the thesis's form: curves over epochs; every figure with its footnote.

Colours go with networks, so that one network has one colour in all figures.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from lits_deploy.printable import plottable
from train import plots
from train.recipes import thesis_numbers
from train.recipes.lab.runs import FinishedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#5a5a5a"
"""Okabe and Ito's, told apart by colour-blind readers too."""

COLOURS = {
    "alexnet": ORANGE,
    "resnet18": BLUE,
    "resnet34": GREEN,
    "resnet50": RED,
    "resnet152": PURPLE,
    "vgg19": SKY,
    "resnet34-plain": GREY,
}
MARKERS = "os^Dv*P"
"""Lines that lie on one another are told apart by them."""

LEAST_SPAN = 10.0
"""Per cent that an axis spans at least."""

CLASS_COLOURS = (BLUE, GREEN, RED)
Curve = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One label: a curve over epochs for each seed. dashed: printed values, or a second kind of the same network."""

    label: str
    curves: Sequence[Curve]
    colour: str
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines over epochs, from epoch `first`, side by side with others in a figure."""

    lines: Sequence[Line]
    title: str
    ylabel: str
    first: int = 1


def of_networks(
    runs: Mapping[str, Sequence[FinishedRun]],
    split: str,
    figure: str,
    title: str | None = None,
    grey: Sequence[str] = (),
) -> Panel:
    """Accuracy or loss of networks on train, validate or test.

    runs: by name; NAME_init is the Kaiming-initialised NAME. title: None: the split and the figure. grey: the networks
    that others are compared with, dashed.
    """
    lines = [
        Line(
            label=label_of(name) + (f" (mean of {len(found)})" if len(found) > 1 else ""),
            curves=[run.curve(split, figure) if figure == "loss" else run.percent(split, figure) for run in found],
            colour=GREY if name in grey else COLOURS[name.removesuffix("_init")],
            dashed=name in grey,
        )
        for name, found in runs.items()
    ]
    ((run, *_), *_) = runs.values()
    where = {"train": "Training", "validate": "Validation", "test": "Test"}[split]
    mark = "" if split == "train" else f", split by {run.split_by}"
    ylabel = "cross-entropy" if figure == "loss" else f"{figure} (%)"
    return Panel(lines=lines, title=title or f"{where} {figure}{mark}", ylabel=ylabel)


def of_classes(runs: Sequence[FinishedRun], title: str) -> Panel:
    """Accuracy of each class of one network on validate."""
    lines = [
        Line(label=f"target {k}", curves=[run.percent("validate", "class_accuracy", k) for run in runs], colour=colour)
        for k, colour in enumerate(CLASS_COLOURS)
    ]
    return Panel(lines=lines, title=title, ylabel="accuracy (%)")


def label_of(name: str) -> str:
    """A network as the thesis writes it, a Kaiming-initialised one with _init."""
    base, _, init = name.partition("_")
    return thesis_numbers.NAMES[base] + ("_init" if init else "")


def save(figure: Figure, path: Path, title: str, foot: str) -> None:
    """Title above, footnote below, written as PNG, whole or not at all."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    head, tail = textwrap.fill(plottable(title), int(width * 11)), textwrap.fill(plottable(foot), int(width * 17))
    above, below = (0.22 * (head.count("\n") + 1) + 0.1) / height, (0.13 * (tail.count("\n") + 1) + 0.1) / height
    figure.text(0.5, 1 - 0.06 / height, head, fontsize=12, ha="center", va="top", in_layout=False)
    figure.text(0.06 / width, 0.05 / height, tail, fontsize=8, color=GREY, va="bottom", in_layout=False)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, below, 1, 1 - above - below))
    plots.save(figure, path)


def curves(axes: Axes, panel: Panel) -> None:
    """A panel's lines; of several seeds the mean, and a band from lowest to highest."""
    for n, line in enumerate(panel.lines):
        # runs that minutes ended may differ in epochs
        values = np.array(list(zip_longest(*line.curves)), np.float64).T
        epochs = np.arange(panel.first, panel.first + values.shape[1])
        style = "--" if line.dashed else "-"
        mean = np.array([np.nan if np.isnan(column).all() else np.nanmean(column) for column in values.T])
        mark = MARKERS[n % len(MARKERS)]
        label = plottable(line.label)
        axes.plot(epochs, mean, style, marker=mark, markersize=4.5, linewidth=1.6, color=line.colour, label=label)
        if len(values) > 1:
            low, high = np.nan_to_num(values, nan=np.inf).min(0), np.nan_to_num(values, nan=-np.inf).max(0)
            axes.fill_between(epochs, low, high, where=np.isfinite(mean).tolist(), color=line.colour, alpha=0.15, lw=0)
    axes.set(title=panel.title, xlabel="epoch", ylabel=panel.ylabel)
    low, high = axes.get_ylim()
    if "%" in panel.ylabel and high - low < LEAST_SPAN:  # else nothing looks like a great deal
        axes.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8.5)


def rate_text(rate: float) -> str:
    """A learning rate as the thesis writes it, near enough: 1e-4."""
    return f"{rate:.0e}".replace("e-0", "e-")
