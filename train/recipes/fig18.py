"""Figure 18 and Table 7: AlexNet's classes 1 and 2 against each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from train.recipes import printed
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import curves
from train.recipes.lab.runs import Run
from train.recipes.lab.tables import Cell, Column, Table
from train.recipes.lab.words import split_mark
from train.recipes.table6 import class_lines

EPOCHS = 30
FIRST, LAST = 7, 15
"""Epochs of Table 7."""


def fig18(bench: Bench) -> None:
    """Train AlexNet for 30 epochs with learning rate 1e-5 and correlate its accuracies of classes 1 and 2.

    Thesis: Figure 18 shows AlexNet's per-class validation accuracy over 30 epochs at learning rate 1e-5; Table 7 prints
    classes 1 and 2 of epochs 7 to 15 in eight columns; the Pearson correlation of both over all epochs is −0.167.

    Silent: which of the nine epochs Table 7 leaves out, and whether weight decay was off.

    Ours: weight decay off, because the paragraph it stands in excludes it (--weight-decay sets another). The
    correlation is given over all epochs, as the thesis did, and over epochs 7 to 15, which Table 7 takes its columns
    from: its printed columns correlate much more strongly than the 30 epochs do.
    """
    runs = bench.train("alexnet", lr=1e-5, weight_decay=bench.weight_decay(0.0), epochs=EPOCHS)
    mark = split_mark(runs[0].split_by)
    first, last = window(runs[0].epochs)
    bench.keep(_columns(runs, first, last))
    bench.keep(_correlations(runs, first, last))
    title = f"Figure 18: per-class validation accuracy of AlexNet, learning rate 1e-5, {runs[0].epochs} epochs"
    with bench.figure("fig18", title, size=(8.5, 4.8)) as (axes,):
        curves(axes, class_lines(runs), title=mark, ylabel="accuracy (%)")
    if (first, last) != (FIRST, LAST):
        bench.note(
            f"Scaled: epochs {first} to {last} of {runs[0].epochs} stand for epochs {FIRST} to {LAST} of {EPOCHS}."
        )


def window(epochs: int) -> tuple[int, int]:
    """First and last epoch that stand for Table 7's, of a run of so many epochs."""
    first = max(1, round(FIRST * epochs / EPOCHS))
    return first, min(epochs, max(first + 1, round(LAST * epochs / EPOCHS)))


def correlation(x: Sequence[float | None], y: Sequence[float | None]) -> float | None:
    """Pearson's, as pandas.Series.corr; None where one of them does not vary."""
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
    left, right = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    if len(pairs) < 2 or min(np.ptp(left), np.ptp(right)) < 1e-12:
        return None
    return float(np.corrcoef(left, right)[0, 1])


def _columns(runs: Sequence[Run], first: int, last: int) -> Table:
    rows: list[dict[str, Cell]] = []
    one, two = printed.TABLE7
    for place in range(max(len(one), last - first + 1)):
        row: dict[str, Cell] = {"column": str(place + 1) if place < len(one) else ""}
        if place < len(one):
            row |= {"printed1": one[place], "printed2": two[place]}
        epoch = first + place
        if epoch <= last:
            row["epoch"] = str(epoch)
            for k in (1, 2):
                values = [run.curve("validate", "class_accuracy", k)[epoch - 1] for run in runs]
                row[f"measured{k}"] = [None if value is None else 100 * value for value in values]
        rows.append(row)
    columns = (
        Column(key="column", title="column"), Column(key="printed1", title="target 1, printed (%)"),
        Column(key="printed2", title="target 2, printed (%)"), Column(key="epoch", title="epoch"),
        Column(key="measured1", title="target 1, measured (%)"),
        Column(key="measured2", title="target 2, measured (%)"),
    )  # fmt: skip
    note = (
        "Eight columns are printed for the nine epochs 7 to 15: which one is left out is not said, so printed and "
        "measured of one row need not be of one epoch."
    )
    title, split_by = "Table 7: accuracy of targets 1 and 2", runs[0].split_by
    return Table(name="table7", title=title, columns=columns, rows=rows, notes=[note], split_by=split_by)


def _correlations(runs: Sequence[Run], first: int, last: int) -> Table:
    def measured(start: int, stop: int) -> list[float | None]:
        both = [[run.curve("validate", "class_accuracy", k)[start:stop] for k in (1, 2)] for run in runs]
        return [correlation(*pair) for pair in both]

    rows: list[dict[str, Cell]] = [
        {
            "what": "all epochs", "printed": printed.TABLE7_CORRELATION, "printed_epochs": str(EPOCHS),
            "measured": measured(0, runs[0].epochs), "measured_epochs": str(runs[0].epochs),
        },
        {
            "what": "the columns of Table 7", "printed": correlation(*printed.TABLE7),
            "printed_epochs": f"8 of {FIRST} to {LAST}", "measured": measured(first - 1, last),
            "measured_epochs": f"{first} to {last}",
        },
    ]  # fmt: skip
    columns = (
        Column(key="what", title="over"), Column(key="printed_epochs", title="epochs, printed"),
        Column(key="printed", title="correlation, printed", digits=3),
        Column(key="measured_epochs", title="epochs, measured"),
        Column(key="measured", title="correlation, measured", digits=3),
    )  # fmt: skip
    note = (
        "The second printed value is not in the thesis: it is what its eight printed columns give. Nothing is measured "
        "where an accuracy does not vary."
    )
    title, split_by = "Correlation of the accuracies of targets 1 and 2", runs[0].split_by
    return Table(name="correlation", title=title, columns=columns, rows=rows, notes=[note], split_by=split_by)
