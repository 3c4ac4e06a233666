"""Table 8 and Figure 23: what a network reaches in 10, 15 and 20 minutes."""

from __future__ import annotations

import math
import statistics

from train.recipes import printed
from train.recipes.fig16_17 import NETWORKS, RATES
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import COLOURS, MARKERS, rate_text
from train.recipes.lab.runs import Run
from train.recipes.lab.tables import Cell, Column, Table
from train.recipes.lab.trainings import epochs_within
from train.recipes.lab.words import split_mark

Reached = dict[int, list[tuple[Run, int]]]
"""Limit in minutes: each seed's run, and how many epochs it had done."""


def table8(bench: Bench) -> None:
    """Train four networks with three learning rates under three limits of time.

    Thesis: Table 8 stops training after 10, 15 and 20 minutes; the limit is compared with the time elapsed at the start
    of each epoch. Figure 23 shows the same accuracies as those on validate.

    Silent: whether the time counts validation, and whether weight decay was off as for Figure 16.

    Ours: one training for each network and rate, looked at when each limit would have stopped it: an epoch begun in
    time is finished. `--budget v100`, the default, gives every network the epochs that a V100 does in the time, from
    the seconds of Table 6, so the table does not depend on the machine; `--budget minutes` takes the minutes of this
    machine, of training alone. Weight decay as in Section 5.2, 1e-5, since nothing else is said (--weight-decay 0
    takes it off). Validate beside the printed figures, which are validate's; test after it.
    """
    runs = {rate: {name: _reached(bench, name, rate) for name in NETWORKS} for rate in RATES}
    split_by = runs[RATES[0]]["resnet18"][printed.TABLE8_LIMITS[0]][0][0].split_by
    rows: list[dict[str, Cell]] = []
    for rate in RATES:
        for name in NETWORKS:
            for index, (limit, found) in enumerate(runs[rate][name].items()):
                rows.append(
                    {
                        "lr": rate_text(rate), "network": printed.NAMES[name], "limit": str(limit),
                        "epochs": [count for _, count in found], "printed": printed.TABLE8[rate][name][index],
                        "validate": [_accuracy(run, count, "validate") for run, count in found],
                        "test": [_accuracy(run, count, "test") for run, count in found],
                    }
                )  # fmt: skip
    columns = (
        Column(key="lr", title="learning rate"), Column(key="network", title="network"),
        Column(key="limit", title="minutes"), Column(key="epochs", title="epochs, measured", digits=0),
        Column(key="printed", title="accuracy, printed (%)"),
        Column(key="validate", title="validate accuracy, measured (%)"),
        Column(key="test", title="test accuracy, measured (%)"),
    )  # fmt: skip
    title = "Table 8: accuracy after a fixed time"
    notes = [printed.TABLE8_MISPRINT, _budget(bench)]
    bench.keep(Table(name="table8", title=title, columns=columns, rows=rows, notes=notes, split_by=split_by))
    _figure(bench, runs, split_mark(split_by))


def _figure(bench: Bench, runs: dict[float, dict[str, Reached]], mark: str) -> None:
    title = "Figure 23: validation accuracy after 10, 15 and 20 minutes (dashed: printed in Table 8)"
    with bench.figure("fig23", title, size=(12.5, 4.6), columns=3) as axes:
        for one, rate in zip(axes, RATES, strict=True):
            for shape, name in zip(MARKERS, NETWORKS, strict=False):
                means = [
                    statistics.fmean(_accuracy(run, count, "validate") for run, count in pairs)
                    for pairs in runs[rate][name].values()
                ]
                for values, dashed in ((means, False), (printed.TABLE8[rate][name], True)):
                    one.plot(
                        printed.TABLE8_LIMITS, values, marker=shape, markersize=4.5, color=COLOURS[name],
                        linestyle="--" if dashed else "-", alpha=0.5 if dashed else 1.0,
                        label=None if dashed else printed.NAMES[name],
                    )  # fmt: skip
            one.set(title=f"learning rate {rate_text(rate)}, {mark}", xlabel="minutes", ylabel="accuracy (%)")
            one.set_xticks(printed.TABLE8_LIMITS)
            one.grid(alpha=0.3)
            one.spines[["top", "right"]].set_visible(False)
            one.legend(fontsize=8.5)


def v100_epochs(name: str, minutes: float) -> int:
    """Epochs that the thesis's V100 would have done under a limit checked at the start of each (seconds of Table 6)."""
    return math.floor(60 * minutes / printed.TABLE6_SECONDS[name]) + 1


def _reached(bench: Bench, name: str, rate: float) -> Reached:
    decay = bench.weight_decay(1e-5)
    longest = printed.TABLE8_LIMITS[-1]
    if bench.settings.budget == "v100":
        runs = bench.train(name, lr=rate, weight_decay=decay, epochs=v100_epochs(name, longest))
        return {
            limit: [(run, bench.scale.epochs_of(v100_epochs(name, limit))) for run in runs]
            for limit in printed.TABLE8_LIMITS
        }
    factor = bench.scale.minutes
    runs = bench.train(name, lr=rate, weight_decay=decay, minutes=longest * factor)
    return {
        limit: [(run, epochs_within(run.row("seconds"), limit * factor)) for run in runs]
        for limit in printed.TABLE8_LIMITS
    }


def _accuracy(run: Run, epochs: int, split: str) -> float:
    value = run.curve(split, "accuracy")[epochs - 1]
    assert value is not None
    return 100 * value


def _budget(bench: Bench) -> str:
    if bench.settings.budget == "v100":
        counts = ", ".join(
            f"{printed.NAMES[name]} {'/'.join(str(v100_epochs(name, limit)) for limit in printed.TABLE8_LIMITS)}"
            for name in NETWORKS
        )
        told = f"Time by --budget v100: epochs that a V100 starts within 10/15/20 minutes: {counts}."
        return told if bench.scale.full else f"{told} Scaled, as the epochs column says."
    scaled = "" if bench.scale.full else f", each × {bench.scale.minutes:.3g} by the scale"
    return f"Time by --budget minutes: minutes of training on this machine{scaled}."
