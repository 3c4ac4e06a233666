"""Time per file and peak memory over the number of files. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.plot import COLOURS, GREY
from lits_deploy.cli.extras import needs
from lits_deploy.files import atomic_path
from lits_deploy.printable import plottable


def draw(document: dict[str, Any], path: Path) -> None:
    """Draw a record. Raises MissingExtra without matplotlib."""
    with needs("bench"):
        from matplotlib.figure import Figure
    document = plottable(document)
    rows = document["rows"]
    figure = Figure(figsize=(10, 4.4), dpi=150)
    left, right = figure.subplots(1, 2)
    for index, step in enumerate(dict.fromkeys(row["step"] for row in rows)):
        own = [row for row in rows if row["step"] == step]
        sizes, colour = [row["entries"] for row in own], COLOURS[index % len(COLOURS)]
        left.plot(sizes, [row["us_per_entry"] for row in own], "o-", color=colour, label=step)
        left.plot(sizes, [row["cpu_us_per_entry"] for row in own], ".:", color=colour)
        right.plot(sizes, [row["peak_mb"] for row in own], "o-", color=colour, label=step)
    right.axhline(1500, color=GREY, linewidth=0.8, linestyle="--")
    for axes, title, unit in (
        (left, "Time per file (dotted: of the processor)", "µs"),
        (right, "Peak resident memory", "MB"),
    ):
        axes.set(xscale="log", xlabel="files", ylabel=unit)
        axes.set_ylim(bottom=0)
        axes.set_title(title, loc="left", fontsize=11)
        axes.grid(axis="y", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    machine = document["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores; made-up scans and answers, no pixels."
    figure.text(0.01, 0.012, f"{where} {document['disclaimer']}", fontsize=7, color=GREY)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
