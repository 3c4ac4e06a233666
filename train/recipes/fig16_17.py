"""Figures 16 and 17: three learning rates, and AlexNet's saddle point."""

from __future__ import annotations

from train.plots import draw_confusion
from train.recipes import printed
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import COLOURS, Line, curves, rate_text
from train.recipes.lab.tables import Cell, Column, Table
from train.recipes.lab.words import split_mark

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
    alexnet = runs[1e-3]["alexnet"]
    mark = split_mark(alexnet[0].split_by)
    matrix = alexnet[0].last("validate")["confusion"]
    always = 100 * sum(matrix[0]) / max(1, sum(map(sum, matrix)))
    rows: list[dict[str, Cell]] = []
    for rate in RATES:
        for name in NETWORKS:
            curves_of = [[v for v in run.curve("validate", "accuracy") if v is not None] for run in runs[rate][name]]
            saddle = rate == 1e-3 and name == "alexnet"
            rows.append(
                {
                    "lr": rate_text(rate), "network": printed.NAMES[name],
                    "printed": printed.SADDLE if saddle else None, "last": [100 * curve[-1] for curve in curves_of],
                    "highest": [100 * max(curve) for curve in curves_of], "always": always if saddle else None,
                }
            )  # fmt: skip
    columns = (
        Column(key="lr", title="learning rate"), Column(key="network", title="network"),
        Column(key="printed", title="validate accuracy, printed (%)"),
        Column(key="last", title="last epoch, measured (%)"),
        Column(key="highest", title="highest, measured (%)"),
        Column(key="always", title="always answering class 0, measured (%)"),
    )  # fmt: skip
    note = "Figure 16 has curves only: of its end points the text prints one."
    bench.keep(
        Table(
            name="fig16-17",
            title="Figure 16 in numbers",
            columns=columns,
            rows=rows,
            notes=[note],
            split_by=alexnet[0].split_by,
        )
    )
    title = "Figure 16: validation accuracy for three learning rates, without weight decay"
    with bench.figure("fig16", title, size=(12.5, 4.4), columns=3) as axes:
        for one, rate in zip(axes, RATES, strict=True):
            lines = [
                Line(
                    label=printed.NAMES[name], curves=[run.curve("validate", "accuracy") for run in found],
                    colour=COLOURS[name], factor=100,
                )
                for name, found in runs[rate].items()
            ]  # fmt: skip
            curves(one, lines, title=f"learning rate {rate_text(rate)}, {mark}", ylabel="validation accuracy (%)")
    title = "Figure 17: AlexNet at learning rate 0.001, validation confusion matrix"
    with bench.figure("fig17", title, size=(5.8, 5.2)) as (axes_,):
        draw_confusion(axes_, matrix, "012", title=f"after epoch {alexnet[0].epochs}, {mark}")
