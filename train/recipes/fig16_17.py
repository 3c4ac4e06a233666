"""Figures 16 and 17: three learning rates, and AlexNet's saddle point."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from train.plots import draw_confusion
from train.recipes import thesis_numbers
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import of_networks, rate_text
from train.recipes.lab.tables import RecipeColumn

RATES = (1e-3, 1e-4, 1e-5)
NETWORKS = ("alexnet", "resnet18", "resnet34", "resnet50")


def fig16_17(bench: Bench) -> None:
    """Train four networks with three learning rates each.

    Thesis: Figure 16 shows the validation accuracy of AlexNet, ResNet18, 34 and 50 over 15 epochs for the learning
    rates 1e-3, 1e-4 and 1e-5, without weight decay. AlexNet stays at 68.7 % with 1e-3: all slices are taken for class
    0, as Figure 17, its validation confusion matrix, shows.

    Silent: of which epoch Figure 17 is. That AlexNet stops at the share of class 0 tells that the loss was not
    weighted by class.

    Ours: the confusion matrix after the last epoch. The share of class 0 in validate, which always answering 0 would
    reach, stands beside AlexNet's accuracy.
    """
    runs = {rate: {name: bench.train(name, lr=rate, weight_decay=0.0) for name in NETWORKS} for rate in RATES}
    alexnet = runs[1e-3]["alexnet"][0]
    matrix = alexnet.last("validate")["confusion"]
    always = 100 * sum(matrix[0]) / max(1, sum(map(sum, matrix)))

    def known(rate: float, name: str) -> list[list[float]]:
        curves = [run.percent("validate", "accuracy") for run in runs[rate][name]]
        return [[value for value in curve if value is not None] for curve in curves]

    def at_saddle(cell: float) -> Callable[[float, str], float | None]:
        return lambda *key: cell if key == (1e-3, "alexnet") else None

    columns = (
        RecipeColumn("lr", "learning rate", lambda rate, _: rate_text(rate)),
        RecipeColumn("network", "network", lambda _, name: thesis_numbers.NAMES[name]),
        RecipeColumn("printed", "validate accuracy, printed (%)", at_saddle(thesis_numbers.SADDLE)),
        RecipeColumn("last", "last epoch, measured (%)", lambda *key: [curve[-1] for curve in known(*key)]),
        RecipeColumn("highest", "highest, measured (%)", lambda *key: [max(curve) for curve in known(*key)]),
        RecipeColumn("always", "always answering class 0, measured (%)", at_saddle(always)),
    )
    note = "Figure 16 has curves only: of its end points the text prints one."
    rows = itertools.product(RATES, NETWORKS)
    bench.table("fig16-17", "Figure 16 in numbers", columns, rows, note)
    bench.curves(
        "fig16",
        "Figure 16: validation accuracy for three learning rates, without weight decay",
        *(
            of_networks(found, "validate", "accuracy", f"learning rate {rate_text(rate)}, {bench.mark}")
            for rate, found in runs.items()
        ),
    )
    title = "Figure 17: AlexNet at learning rate 0.001, validation confusion matrix"
    with bench.figure("fig17", title, size=(5.8, 5.2)) as (axes,):
        draw_confusion(axes, matrix, "012", title=f"after epoch {alexnet.epochs}, {bench.mark}")
