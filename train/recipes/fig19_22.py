"""Figures 19 to 22: PyTorch's initialisation against Kaiming's."""

from __future__ import annotations

from collections.abc import Sequence

from train.models.registry import Init
from train.recipes import printed
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import COLOURS, GREY, Line, curves
from train.recipes.lab.runs import Run
from train.recipes.lab.tables import Cell, Column, Table
from train.recipes.lab.words import split_mark
from train.recipes.table6 import class_lines

INITS: tuple[Init, ...] = ("default", "kaiming")
PRINTED = {
    ("resnet152", "kaiming"): printed.KAIMING_TEST["resnet152"],
    ("alexnet", "default"): printed.TABLE6_ACCURACY["alexnet"],
    ("alexnet", "kaiming"): printed.KAIMING_TEST["alexnet"],
}
"""Test accuracy, %."""

Pair = dict[Init, list[Run]]


def fig19_22(bench: Bench) -> None:
    """Train ResNet152 and AlexNet from either initialisation.

    Thesis: Figure 19 shows validation accuracy, validation loss and mean training loss of ResNet152 with PyTorch's
    default and with Kaiming-normal weights ("_init"), Figure 20 test accuracy and training loss, Figures 21 and 22
    AlexNet's validation accuracy and loss and its per-class accuracy. Kaiming gives 82.52 % on test for ResNet152, and
    takes AlexNet from 83.54 to 95.85 %.

    Silent: which layers were initialised so, fan-in or fan-out, and what became of biases.

    Ours: every convolution and linear layer, fan-in with the gain of ReLU, biases zero; BatchNorm as PyTorch makes it.
    Settings of Section 5.2 otherwise.
    """
    resnet: Pair = {init: bench.train("resnet152", init=init) for init in INITS}
    alexnet: Pair = {init: bench.train("alexnet", init=init) for init in INITS}
    mark = split_mark(resnet["default"][0].split_by)
    rows: list[dict[str, Cell]] = []
    for name, pair in (("resnet152", resnet), ("alexnet", alexnet)):
        for init, found in pair.items():
            rows.append(
                {
                    "network": _label(name, init), "printed": PRINTED.get((name, init)),
                    "measured": [100 * run.last("test")["accuracy"] for run in found],
                    "balanced": [100 * run.last("test")["balanced_accuracy"] for run in found],
                    "validate": [100 * run.last("validate")["accuracy"] for run in found],
                    "train_loss": [run.row("train_loss")[-1] for run in found],
                }
            )  # fmt: skip
    columns = (
        Column(key="network", title="network"), Column(key="printed", title="test accuracy, printed (%)"),
        Column(key="measured", title="test accuracy, measured (%)"),
        Column(key="balanced", title="balanced test accuracy, measured (%)"),
        Column(key="validate", title="validate accuracy, measured (%)"),
        Column(key="train_loss", title="train loss, measured", digits=3),
    )  # fmt: skip
    notes = ["After the last epoch. " + printed.TABLE6_RESNET152 + " The default run's test accuracy is not printed."]
    title, split_by = "Figures 19 to 22 in numbers: default and Kaiming initialisation", resnet["default"][0].split_by
    bench.keep(Table(name="fig19-22", title=title, columns=columns, rows=rows, notes=notes, split_by=split_by))

    title = "Figure 19: ResNet152 and ResNet152_init, validation accuracy, validation loss and mean training loss"
    with bench.figure("fig19", title, size=(12.5, 4.2), columns=3) as (left, middle, right):
        curves(left, _lines("resnet152", resnet, "validate", "accuracy"), title=f"Validation accuracy, {mark}",
               ylabel="accuracy (%)")  # fmt: skip
        curves(middle, _lines("resnet152", resnet, "validate", "loss"), title=f"Validation loss, {mark}",
               ylabel="cross-entropy")  # fmt: skip
        curves(right, _lines("resnet152", resnet, "train", "loss"), title="Training loss", ylabel="cross-entropy")
    title = "Figure 20: ResNet152 and ResNet152_init, test accuracy and mean training loss"
    with bench.figure("fig20", title, size=(11, 4.4), columns=2) as (left, right):
        curves(left, _lines("resnet152", resnet, "test", "accuracy"), title=f"Test accuracy, {mark}",
               ylabel="accuracy (%)")  # fmt: skip
        curves(right, _lines("resnet152", resnet, "train", "loss"), title="Training loss", ylabel="cross-entropy")
    title = "Figure 21: AlexNet and AlexNet_init, validation accuracy and loss"
    with bench.figure("fig21", title, size=(11, 4.4), columns=2) as (left, right):
        curves(left, _lines("alexnet", alexnet, "validate", "accuracy"), title=f"Validation accuracy, {mark}",
               ylabel="accuracy (%)")  # fmt: skip
        curves(right, _lines("alexnet", alexnet, "validate", "loss"), title=f"Validation loss, {mark}",
               ylabel="cross-entropy")  # fmt: skip
    title = "Figure 22: per-class validation accuracy of AlexNet_init and AlexNet"
    with bench.figure("fig22", title, size=(11, 4.4), columns=2) as axes:
        for one, init in zip(axes, reversed(INITS), strict=True):
            curves(one, class_lines(alexnet[init]), title=f"{_label('alexnet', init)}, {mark}", ylabel="accuracy (%)")


def _label(name: str, init: Init) -> str:
    return printed.NAMES[name] + ("_init" if init == "kaiming" else "")


def _lines(name: str, pair: Pair, split: str, figure: str) -> Sequence[Line]:
    def values(run: Run) -> Sequence[float | None]:
        return run.row(f"train_{figure}") if split == "train" else run.curve(split, figure)

    return [
        Line(
            label=_label(name, init), curves=[values(run) for run in found], dashed=init == "default",
            colour=COLOURS[name] if init == "kaiming" else GREY, factor=100 if figure == "accuracy" else 1,
        )
        for init, found in pair.items()
    ]  # fmt: skip
