"""Figures 6 and 7: what shortcuts are good for; and Figure 3, the confusion matrix of ResNet34."""

from __future__ import annotations

from train.plots import draw_confusion
from train.recipes import printed
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import COLOURS, Line, curves
from train.recipes.lab.tables import Cell, Column, Table
from train.recipes.lab.words import split_mark

PLAIN_RUNS = 3


def fig6_7(bench: Bench) -> None:
    """Train AlexNet, ResNet34 and ResNet34 without shortcuts.

    Thesis: three networks trained for 15 epochs with the settings of Section 5.2; the plain ResNet34 is unstable, so
    its curves are the mean of three runs. Figure 6 shows validation accuracy, Figure 7 training and validation loss,
    Figure 3 the validation confusion matrix of ResNet34 with per-class accuracies.

    Silent: how the three runs differ (we take it: by chance alone), and of which epoch Figure 3 is.

    Ours: seeds 0, 1 and 2 for the plain network, with a band from lowest to highest; the confusion matrix is that after
    the last epoch.
    """
    runs = {
        "alexnet": bench.train("alexnet"),
        "resnet34": bench.train("resnet34"),
        "resnet34-plain": bench.train("resnet34-plain", seeds=max(PLAIN_RUNS, bench.settings.seeds)),
    }
    mark = split_mark(runs["resnet34"][0].split_by)
    rows: list[dict[str, Cell]] = []
    for name, found in runs.items():
        accuracy = [run.curve("validate", "accuracy") for run in found]
        rows.append(
            {
                "network": printed.NAMES[name], "runs": len(found), "printed": printed.FIG6[name],
                "highest": [100 * max(v for v in curve if v is not None) for curve in accuracy],
                "last": [None if curve[-1] is None else 100 * curve[-1] for curve in accuracy],
                "train_loss": [run.row("train_loss")[-1] for run in found],
                "validate_loss": [run.curve("validate", "loss")[-1] for run in found],
            }
        )  # fmt: skip
    columns = (
        Column(key="network", title="network"), Column(key="runs", title="runs"),
        Column(key="printed", title="validate accuracy, printed (%)"),
        Column(key="highest", title="highest validate accuracy, measured (%)"),
        Column(key="last", title="after the last epoch, measured (%)"),
        Column(key="train_loss", title="last train loss, measured", digits=3),
        Column(key="validate_loss", title="last validate loss, measured", digits=3),
    )  # fmt: skip
    bench.keep(
        Table(
            name="fig6-7",
            title="Figures 6 and 7 in numbers: shortcuts or none",
            columns=columns,
            rows=rows,
            split_by=runs["resnet34"][0].split_by,
        )
    )

    def lines(split: str, figure: str, factor: float = 1.0) -> list[Line]:
        drawn = []
        for name, found in runs.items():
            values = [run.row(f"train_{figure}") if split == "train" else run.curve(split, figure) for run in found]
            label = printed.NAMES[name] + (f" (mean of {len(found)})" if len(found) > 1 else "")
            drawn.append(Line(label=label, curves=values, colour=COLOURS[name], factor=factor))
        return drawn

    with bench.figure("fig6", "Figure 6: ResNet34, its plain variant and AlexNet", size=(7.5, 4.6)) as (axes,):
        curves(axes, lines("validate", "accuracy", 100), title=f"Validation accuracy, {mark}", ylabel="accuracy (%)")
    title = "Figure 7: losses of ResNet34, its plain variant and AlexNet"
    with bench.figure("fig7", title, size=(11, 4.4), columns=2) as (left, right):
        curves(left, lines("train", "loss"), title="Training loss", ylabel="cross-entropy")
        curves(right, lines("validate", "loss"), title=f"Validation loss, {mark}", ylabel="cross-entropy")
    title = "Figure 3: validation confusion matrix of ResNet34 with per-class accuracy"
    with bench.figure("fig3", title, size=(5.8, 5.2)) as (axes,):
        last = runs["resnet34"][0]
        draw_confusion(axes, last.last("validate")["confusion"], "012", title=f"after epoch {last.epochs}, {mark}")
