"""Table 6 and Figures 12 to 15: all six classifiers with the same settings."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from train.models.registry import NETWORKS, Init
from train.recipes import printed
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import CLASS_COLOURS, COLOURS, Line, curves
from train.recipes.lab.runs import Run
from train.recipes.lab.tables import Cell, Column, Table
from train.recipes.lab.words import split_mark

Runs = dict[str, list[Run]]


def table6(bench: Bench) -> None:
    """Train AlexNet, ResNet18, 34, 50, 152 and VGG19, and test them.

    Thesis: Table 6 gives parameters, seconds an epoch on a V100 and test accuracy after 15 epochs with the settings of
    Section 5.2. Figures 12 and 13 show validation accuracy and loss, 14 the per-class validation accuracy of ResNet18
    and VGG19, 15 their test accuracy and loss.

    Silent: of which epoch the test accuracy is, whether seconds count validation, whether the loss was weighted by
    class (Section 3 says it will be), and how pixels of 0…255 were normalised.

    Ours: the test accuracy after the last epoch, and beside it that of the epoch with the best balanced accuracy on
    validate; seconds of training alone; an unweighted loss (--class-weights balanced weights it); pixels scaled to
    0…1; the centre crop when testing. ResNet152 is the Kaiming-initialised run, as in Section 5.3.
    """
    inits: dict[str, Init] = dict.fromkeys(printed.TABLE6_ACCURACY, "default")
    inits["resnet152"] = "kaiming"
    runs = {name: bench.train(name, init=init) for name, init in inits.items()}
    bench.keep(_table(runs))
    bench.note(printed.TABLE6_RESNET152)
    mark = split_mark(runs["resnet18"][0].split_by)
    title = "Figure 12: ResNet18, ResNet34 and ResNet50"
    _accuracy_and_loss(bench, "fig12", title, runs, ("resnet18", "resnet34", "resnet50"), "validate", mark)
    title = "Figure 13: ResNet18, VGG19 and AlexNet"
    _accuracy_and_loss(bench, "fig13", title, runs, ("resnet18", "vgg19", "alexnet"), "validate", mark)
    title = "Figure 14: per-class validation accuracy of ResNet18 and VGG19"
    with bench.figure("fig14", title, size=(11, 4.4), columns=2) as axes:
        for one, name in zip(axes, ("resnet18", "vgg19"), strict=True):
            curves(one, class_lines(runs[name]), title=f"{printed.NAMES[name]}, {mark}", ylabel="accuracy (%)")
    title = "Figure 15: test accuracy and test loss of ResNet18 and VGG19"
    _accuracy_and_loss(bench, "fig15", title, runs, ("resnet18", "vgg19"), "test", mark)


def class_lines(runs: Sequence[Run], split: str = "validate") -> list[Line]:
    """Per-class accuracy in % of one network, a line a class."""
    return [
        Line(
            label=f"target {k}", curves=[run.curve(split, "class_accuracy", k) for run in runs],
            colour=CLASS_COLOURS[k], factor=100,
        )
        for k in range(3)
    ]  # fmt: skip


def _table(runs: Runs) -> Table:
    rows: list[dict[str, Cell]] = []
    for name, found in runs.items():
        last = [run.last("test") for run in found]
        best = [run.lines[run.best_epoch - 1]["test"] for run in found]
        rows.append(
            {
                "network": printed.NAMES[name] + (" (Kaiming)" if name == "resnet152" else ""),
                "parameters_printed": printed.TABLE6_PARAMETERS[name],
                "parameters": f"{NETWORKS[name].parameters / 1e6:.4f}",
                "seconds_printed": printed.TABLE6_SECONDS[name],
                "seconds": [statistics.fmean(run.row("seconds")) for run in found],
                "accuracy_printed": printed.TABLE6_ACCURACY[name],
                "accuracy": [100 * figures["accuracy"] for figures in last],
                "best": [100 * figures["accuracy"] for figures in best],
                "balanced": [100 * figures["balanced_accuracy"] for figures in last],
                "liver": [100 * figures["liver_accuracy"] for figures in last],
                "auroc": [figures["lesion_auroc"] for figures in last],
                "epochs": found[0].epochs,
            }
        )  # fmt: skip
    columns = (
        Column(key="network", title="network"), Column(key="parameters_printed", title="parameters, printed (10⁶)"),
        Column(key="parameters", title="measured (10⁶)"),
        Column(key="seconds_printed", title="seconds an epoch, printed (V100)"),
        Column(key="seconds", title="measured"), Column(key="accuracy_printed", title="test accuracy, printed (%)"),
        Column(key="accuracy", title="measured, last epoch (%)"),
        Column(key="best", title="measured, best epoch on validate (%)"),
        Column(key="balanced", title="balanced accuracy, last epoch (%)"),
        Column(key="liver", title="liver or none, last epoch (%)"),
        Column(key="auroc", title="lesion AUROC, last epoch", digits=3), Column(key="epochs", title="epochs"),
    )  # fmt: skip
    devices = "; ".join(sorted({run.device for found in runs.values() for run in found}))
    notes = [f"Seconds were measured on {devices}.", printed.TABLE6_MISPRINT, printed.TABLE6_RESNET152]
    title, split_by = "Table 6: parameters, runtime and test accuracy", runs["resnet18"][0].split_by
    return Table(name="table6", title=title, columns=columns, rows=rows, notes=notes, split_by=split_by)


def _accuracy_and_loss(
    bench: Bench, name: str, title: str, runs: Runs, networks: Sequence[str], split: str, mark: str
) -> None:
    word = {"validate": "Validation", "test": "Test"}[split]

    def lines(figure: str, factor: float) -> list[Line]:
        return [
            Line(
                label=printed.NAMES[network], curves=[run.curve(split, figure) for run in runs[network]],
                colour=COLOURS[network], factor=factor,
            )
            for network in networks
        ]  # fmt: skip

    with bench.figure(name, title, size=(11, 4.4), columns=2) as (left, right):
        curves(left, lines("accuracy", 100), title=f"{word} accuracy, {mark}", ylabel="accuracy (%)")
        curves(right, lines("loss", 1), title=f"{word} loss, {mark}", ylabel="cross-entropy")
