"""Figure 18 and Table 7: AlexNet's classes 1 and 2 against each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from train.recipes import thesis_numbers
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import of_classes
from train.recipes.lab.runs import FinishedRun
from train.recipes.lab.tables import RecipeColumn

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
    first, last = window(runs[0].epochs)
    _columns(bench, runs, first, last)
    _correlations(bench, runs, first, last)
    title = f"Figure 18: per-class validation accuracy of AlexNet, learning rate 1e-5, {runs[0].epochs} epochs"
    bench.curves("fig18", title, of_classes(runs, bench.mark))
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


def _columns(bench: Bench, runs: Sequence[FinishedRun], first: int, last: int) -> None:
    printed = [(str(epoch), *pair) for epoch, pair in enumerate(zip(*thesis_numbers.TABLE7, strict=True), start=1)]
    found = [[run.percent("validate", "class_accuracy", k) for run in runs] for k in (1, 2)]
    epochs = range(first, last + 1)
    measured = [(str(epoch), *([curve[epoch - 1] for curve in curves] for curves in found)) for epoch in epochs]
    pairs = zip_longest(printed, measured)
    rows = ((*(left or ("", None, None)), *(right or (None, None, None))) for left, right in pairs)
    columns = (
        RecipeColumn("column", "column"),
        RecipeColumn("printed1", "target 1, printed (%)"),
        RecipeColumn("printed2", "target 2, printed (%)"),
        RecipeColumn("epoch", "epoch"),
        RecipeColumn("measured1", "target 1, measured (%)"),
        RecipeColumn("measured2", "target 2, measured (%)"),
    )
    note = (
        "Eight columns are printed for the nine epochs 7 to 15: which one is left out is not said, so printed and "
        "measured of one row need not be of one epoch."
    )
    bench.table("table7", "Table 7: accuracy of targets 1 and 2", columns, rows, note)


def _correlations(bench: Bench, runs: Sequence[FinishedRun], first: int, last: int) -> None:
    def measured(start: int, stop: int) -> list[float | None]:
        both = [[run.curve("validate", "class_accuracy", k)[start:stop] for k in (1, 2)] for run in runs]
        return [correlation(*pair) for pair in both]

    epochs, printed = runs[0].epochs, correlation(*thesis_numbers.TABLE7)
    part = f"8 of {FIRST} to {LAST}", printed, f"{first} to {last}", measured(first - 1, last)
    rows = (
        ("all epochs", str(EPOCHS), thesis_numbers.TABLE7_CORRELATION, str(epochs), measured(0, epochs)),
        ("the columns of Table 7", *part),
    )
    columns = (
        RecipeColumn("what", "over"),
        RecipeColumn("printed_epochs", "epochs, printed"),
        RecipeColumn("printed", "correlation, printed", digits=3),
        RecipeColumn("measured_epochs", "epochs, measured"),
        RecipeColumn("measured", "correlation, measured", digits=3),
    )
    note = (
        "The second printed value is not in the thesis: it is what its eight printed columns give. Nothing is measured "
        "where an accuracy does not vary."
    )
    bench.table("correlation", "Correlation of the accuracies of targets 1 and 2", columns, rows, note)
