"""Table 8 and Figure 23: what a network reaches in 10, 15 and 20 minutes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from train.recipes import thesis_numbers
from train.recipes.fig16_17 import NETWORKS, RATES
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import COLOURS, MARKERS, rate_text
from train.recipes.lab.runs import FinishedRun
from train.recipes.lab.tables import RecipeColumn
from train.recipes.lab.trainings import epochs_within

Reached = dict[int, list[tuple[FinishedRun, int]]]
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
    runs = {(rate, name): _reached(bench, name, rate) for rate in RATES for name in NETWORKS}
    columns = (
        RecipeColumn("lr", "learning rate", lambda rate, *_: rate_text(rate)),
        RecipeColumn("network", "network", lambda _, name, *__: thesis_numbers.NAMES[name]),
        RecipeColumn("limit", "minutes", lambda _, __, limit, ___: str(limit)),
        RecipeColumn("epochs", "epochs, measured", lambda *row: [count for _, count in row[3]], digits=0),
        RecipeColumn("printed", "accuracy, printed (%)", lambda rate, name, limit, _: _printed(rate, name)[limit]),
        RecipeColumn("validate", "validate accuracy, measured (%)", lambda *row: _accuracies(row[3], "validate")),
        RecipeColumn("test", "test accuracy, measured (%)", lambda *row: _accuracies(row[3], "test")),
    )
    rows = ((*key, limit, found) for key, reached in runs.items() for limit, found in reached.items())
    notes = thesis_numbers.TABLE8_MISPRINT, _budget(bench)
    bench.table("table8", "Table 8: accuracy after a fixed time", columns, rows, *notes)
    title = "Figure 23: validation accuracy after 10, 15 and 20 minutes (dashed: printed in Table 8)"
    with bench.figure("fig23", title, columns=3) as axes:
        for one, rate in zip(axes, RATES, strict=True):
            for shape, name in zip(MARKERS, NETWORKS, strict=False):
                means = [statistics.fmean(_accuracies(found, "validate")) for found in runs[rate, name].values()]
                style: dict[str, Any] = {"marker": shape, "markersize": 4.5, "color": COLOURS[name]}
                one.plot(thesis_numbers.TABLE8_LIMITS, means, label=thesis_numbers.NAMES[name], **style)
                one.plot(thesis_numbers.TABLE8_LIMITS, thesis_numbers.TABLE8[rate][name], "--", alpha=0.5, **style)
            one.set(title=f"learning rate {rate_text(rate)}, {bench.mark}", xlabel="minutes", ylabel="accuracy (%)")
            one.set_xticks(thesis_numbers.TABLE8_LIMITS)
            one.grid(alpha=0.3)
            one.spines[["top", "right"]].set_visible(False)
            one.legend(fontsize=8.5)


def v100_epochs(name: str, minutes: float) -> int:
    """Epochs that the thesis's V100 would have done under a limit checked at the start of each (seconds of Table 6)."""
    return math.floor(60 * minutes / thesis_numbers.TABLE6[name].seconds) + 1


def _reached(bench: Bench, name: str, rate: float) -> Reached:
    decay, limits = bench.weight_decay(1e-5), thesis_numbers.TABLE8_LIMITS
    if bench.settings.budget == "v100":
        runs = bench.train(name, lr=rate, weight_decay=decay, epochs=v100_epochs(name, limits[-1]))
        return {limit: [(run, bench.scale.epochs_of(v100_epochs(name, limit))) for run in runs] for limit in limits}
    factor = bench.scale.minutes
    runs = bench.train(name, lr=rate, weight_decay=decay, minutes=limits[-1] * factor)
    return {limit: [(run, epochs_within(run.row("seconds"), limit * factor)) for run in runs] for limit in limits}


def _printed(rate: float, name: str) -> dict[int, float]:
    return dict(zip(thesis_numbers.TABLE8_LIMITS, thesis_numbers.TABLE8[rate][name], strict=True))


def _accuracies(found: Sequence[tuple[FinishedRun, int]], split: str) -> list[float]:
    return [100 * run.lines[epochs - 1][split]["accuracy"] for run, epochs in found]


def _budget(bench: Bench) -> str:
    if bench.settings.budget == "v100":
        limits = thesis_numbers.TABLE8_LIMITS
        counts = ", ".join(
            f"{thesis_numbers.NAMES[name]} {'/'.join(str(v100_epochs(name, limit)) for limit in limits)}"
            for name in NETWORKS
        )
        text = f"Time by --budget v100: epochs that a V100 starts within 10/15/20 minutes: {counts}."
        return text if bench.scale.full else f"{text} Scaled, as the epochs column says."
    scaled = "" if bench.scale.full else f", each × {bench.scale.minutes:.3g} by the scale"
    return f"Time by --budget minutes: minutes of training on this machine{scaled}."
