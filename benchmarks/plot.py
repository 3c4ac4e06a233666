"""latency.png: latency percentiles and throughput of every candidate at every batch size. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import accuracy_name, machine_line, name_of, precision_of
from lits_deploy.cli.extras import needs
from lits_deploy.files import atomic_path
from lits_deploy.printable import plottable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by colour-blind readers too."""

GREY = "#555555"
MARKS = (("p50", "o"), ("p90", "^"), ("p99", "D"))

Row = dict[str, Any]


def draw(document: dict[str, Any], path: Path) -> bool:
    """Draw the picture; False where no row has a result. Raises MissingExtra without matplotlib."""
    with needs("bench"):
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullLocator
    document = plottable(document)
    figure_of_merit = accuracy_name(document)
    groups: dict[str, list[Row]] = {}
    for row in document["rows"]:
        if row["error"] is None and row["latency_ms"]["samples"]:
            groups.setdefault(_label(row, figure_of_merit), []).append(row)
    if not groups:
        return False
    figure = Figure(figsize=(11, 5.6), dpi=150)
    left, right = figure.subplots(1, 2)
    batches = sorted({row["batch"] for rows in groups.values() for row in rows})
    for index, (label, rows) in enumerate(groups.items()):
        colour = COLOURS[index % len(COLOURS)]
        shift = (index - (len(groups) - 1) / 2) * 0.8 / len(groups)
        at = [batches.index(row["batch"]) + shift for row in rows]
        _latencies(left, at, rows, colour)
        _rates(right, at, rows, colour, label, 0.72 / len(groups))
    for axes in (left, right):
        axes.set_xticks(range(len(batches)), [str(batch) for batch in batches])
        axes.set(xlim=(-0.6, len(batches) - 0.4), xlabel="batch (slices per call)")
        axes.grid(axis="y", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    left.set(yscale="log", ylabel="latency of a call (ms, logarithmic)")
    right.set(ylim=(None, right.get_ylim()[1] * 1.12), ylabel="throughput (slices per second)")
    left.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    left.yaxis.set_minor_locator(NullLocator())
    left.yaxis.set_major_formatter("{x:g}")
    low, high = left.get_ylim()
    left.set_ylim(low / 1.25, high * 1.25)
    left.set_title("Latency: percentiles of all timed calls", loc="left", fontsize=11)
    right.set_title("Throughput over the same calls", loc="left", fontsize=11)
    _legends(figure, right, [row["latency_ms"] for rows in groups.values() for row in rows])
    bundle, threads = document["bundle"], document["settings"]["threads"]
    title = f"{bundle['model'].get('name')} ({bundle['name']}), model only, {threads} threads"
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    figure.text(0.01, 0.012, f"{machine_line(document)}\n{document['disclaimer']}", fontsize=7.5, color=GREY)
    figure.tight_layout(rect=(0, 0.075 + 0.04 * max(2, len(groups)), 1, 1))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    return True


def _latencies(axes: Axes, at: Sequence[float], rows: Sequence[Row], colour: str) -> None:
    """A stem from p50 to the highest percentile that there are samples for; the mean where there is not even p50."""
    for x, row in zip(at, rows, strict=True):
        latency = row["latency_ms"]
        shown = [(latency[name], mark) for name, mark in MARKS if latency[name] is not None]
        if not shown:
            axes.plot(x, latency["mean"], "_", color=colour, markersize=13, markeredgewidth=2)
            continue
        values = [value for value, _ in shown]
        axes.plot([x, x], [min(values), max(values)], color=colour, linewidth=1.5)
        axes.annotate(f"{values[0]:,.1f}", (x, values[0]), (6, 0), textcoords="offset points", fontsize=8, va="center")
        for value, mark in shown:
            axes.plot(x, value, mark, color=colour, markersize=6, markeredgecolor="white", markeredgewidth=0.6)


def _rates(axes: Axes, at: Sequence[float], rows: Sequence[Row], colour: str, label: str, width: float) -> None:
    rates = [row["slices_per_second"] for row in rows]
    bars = axes.bar(at, rates, width=width, color=colour, label=label)
    axes.bar_label(bars, [f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}" for rate in rates], fontsize=8, padding=2)


def _legends(figure: Figure, right: Axes, latencies: Sequence[dict[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    measured = [(name, mark) for name, mark in MARKS if any(latency[name] is not None for latency in latencies)]
    marks = [Line2D([], [], marker=mark, color=GREY, linestyle="", label=name) for name, mark in measured]
    if any(all(latency[name] is None for name, _ in MARKS) for latency in latencies):
        few = "mean (fewer than 11 calls)"
        marks.append(Line2D([], [], marker="_", color=GREY, linestyle="", markersize=10, label=few))
    names = ", ".join(name for name, _ in measured)
    figure.legend(
        handles=marks,
        loc="lower right",
        bbox_to_anchor=(0.995, 0.055),
        ncols=len(marks),
        frameon=False,
        fontsize=8.5,
        handletextpad=0.1,
        columnspacing=1.2,
        alignment="right",
        title_fontsize=8.5,
        title=f"latency: {names} where there are calls enough" if names else "latency",
    )
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.002, 0.055), frameon=False, fontsize=9)


def _label(row: Row, figure_of_merit: str) -> str:
    """Name, precision and, since no speed stands without it, accuracy."""
    accuracy = "no accuracy" if row["accuracy"] is None else f"{figure_of_merit} {row['accuracy']:.3f}"
    return f"{name_of(row)}, {precision_of(row)}: {accuracy}"
