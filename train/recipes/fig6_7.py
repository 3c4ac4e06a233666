"""Figures 6 and 7: what shortcuts are good for; and Figure 3, the confusion matrix of ResNet34."""

from __future__ import annotations

from train.plots import draw_confusion
from train.recipes import thesis_numbers
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import of_networks
from train.recipes.lab.runs import FinishedRun, ends
from train.recipes.lab.tables import RecipeColumn

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
    columns = (
        RecipeColumn("network", "network", lambda name, _: thesis_numbers.NAMES[name]),
        RecipeColumn("runs", "runs", lambda _, found: len(found)),
        RecipeColumn("printed", "validate accuracy, printed (%)", lambda name, _: thesis_numbers.FIG6[name]),
        RecipeColumn(
            "highest", "highest validate accuracy, measured (%)", lambda _, found: [_highest(run) for run in found]
        ),
        RecipeColumn("last", "after the last epoch, measured (%)", ends("validate", "accuracy")),
        RecipeColumn("train_loss", "last train loss, measured", ends("train", "loss"), digits=3),
        RecipeColumn("validate_loss", "last validate loss, measured", ends("validate", "loss"), digits=3),
    )
    (last, *_) = runs["resnet34"]
    title = "Figures 6 and 7 in numbers: shortcuts or none"
    bench.table("fig6-7", title, columns, runs.items())
    bench.curves("fig6", "Figure 6: ResNet34, its plain variant and AlexNet", of_networks(runs, "validate", "accuracy"))
    title = "Figure 7: losses of ResNet34, its plain variant and AlexNet"
    bench.curves("fig7", title, *(of_networks(runs, split, "loss") for split in ("train", "validate")))
    title = "Figure 3: validation confusion matrix of ResNet34 with per-class accuracy"
    with bench.figure("fig3", title, size=(5.8, 5.2)) as (axes,):
        matrix = last.last("validate")["confusion"]
        draw_confusion(axes, matrix, "012", title=f"after epoch {last.epochs}, {bench.mark}")


def _highest(run: FinishedRun) -> float:
    return max(value for value in run.percent("validate", "accuracy") if value is not None)
