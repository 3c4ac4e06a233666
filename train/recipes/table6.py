"""Table 6 and Figures 12 to 15: all six classifiers with the same settings."""

from __future__ import annotations

import statistics

from train.models.registry import NETWORKS, Init
from train.recipes import thesis_numbers
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import of_classes, of_networks
from train.recipes.lab.folds import CLASSIFIER, ComparedNetwork, side_by_side
from train.recipes.lab.runs import FinishedRun, ends
from train.recipes.lab.tables import RecipeColumn


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
    inits: dict[str, Init] = dict.fromkeys(thesis_numbers.TABLE6, "default")
    inits["resnet152"] = "kaiming"
    runs = {name: bench.train(name, init=init) for name, init in inits.items()}
    columns = (
        RecipeColumn(
            "network", "network", lambda name, _: thesis_numbers.NAMES[name] + " (Kaiming)" * (name == "resnet152")
        ),
        RecipeColumn(
            "parameters_printed", "parameters, printed (10⁶)", lambda name, _: thesis_numbers.TABLE6[name].parameters
        ),
        RecipeColumn("parameters", "measured (10⁶)", lambda name, _: f"{NETWORKS[name].parameters / 1e6:.4f}"),
        RecipeColumn(
            "seconds_printed", "seconds an epoch, printed (V100)", lambda name, _: thesis_numbers.TABLE6[name].seconds
        ),
        RecipeColumn("seconds", "measured", lambda _, found: [statistics.fmean(run.row("seconds")) for run in found]),
        RecipeColumn(
            "accuracy_printed", "test accuracy, printed (%)", lambda name, _: thesis_numbers.TABLE6[name].accuracy
        ),
        RecipeColumn("accuracy", "measured, last epoch (%)", ends("test", "accuracy")),
        RecipeColumn(
            "best", "measured, best epoch on validate (%)", ends("test", "accuracy", of=lambda run: run.best_epoch)
        ),
        RecipeColumn("balanced", "balanced accuracy, last epoch (%)", ends("test", "balanced_accuracy")),
        RecipeColumn("liver", "liver or none, last epoch (%)", ends("test", "liver_accuracy")),
        RecipeColumn("auroc", "lesion AUROC, last epoch", ends("test", "lesion_auroc"), digits=3),
        RecipeColumn("epochs", "epochs", lambda _, found: found[0].epochs),
    )
    devices = "; ".join(sorted({run.device for found in runs.values() for run in found}))
    notes = f"Seconds were measured on {devices}.", thesis_numbers.TABLE6_MISPRINT, thesis_numbers.TABLE6_RESNET152
    bench.table("table6", "Table 6: parameters, runtime and test accuracy", columns, runs.items(), *notes)
    bench.note(thesis_numbers.TABLE6_RESNET152)
    side_by_side(bench, (_compared(name, found) for name, found in runs.items()))

    def figure(name: str, title: str, networks: tuple[str, ...], split: str) -> None:
        shown = {network: runs[network] for network in networks}
        bench.curves(name, title, of_networks(shown, split, "accuracy"), of_networks(shown, split, "loss"))

    two = ("resnet18", "vgg19")
    figure("fig12", "Figure 12: ResNet18, ResNet34 and ResNet50", ("resnet18", "resnet34", "resnet50"), "validate")
    figure("fig13", "Figure 13: ResNet18, VGG19 and AlexNet", (*two, "alexnet"), "validate")
    title = "Figure 14: per-class validation accuracy of ResNet18 and VGG19"
    bench.curves(
        "fig14", title, *(of_classes(runs[name], f"{thesis_numbers.NAMES[name]}, {bench.mark}") for name in two)
    )
    figure("fig15", "Figure 15: test accuracy and test loss of ResNet18 and VGG19", two, "test")


def _compared(name: str, runs: list[FinishedRun]) -> ComparedNetwork:
    accuracy = {CLASSIFIER[0].title: thesis_numbers.TABLE6[name].accuracy}
    return ComparedNetwork(
        label=thesis_numbers.NAMES[name], runs=runs, printed=accuracy, given={"init": runs[0].config.init}
    )
