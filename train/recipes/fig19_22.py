"""Figures 19 to 22: PyTorch's initialisation against Kaiming's."""

from __future__ import annotations

from train.models.registry import Init
from train.recipes import thesis_numbers
from train.recipes.lab.bench import Bench
from train.recipes.lab.figures import Panel, label_of, of_classes, of_networks
from train.recipes.lab.runs import FinishedRun, ends
from train.recipes.lab.tables import RecipeColumn

INITS: dict[str, Init] = {"": "default", "_init": "kaiming"}
PRINTED = {
    "resnet152_init": thesis_numbers.KAIMING_TEST["resnet152"],
    "alexnet": thesis_numbers.TABLE6["alexnet"].accuracy,
    "alexnet_init": thesis_numbers.KAIMING_TEST["alexnet"],
}
"""Test accuracy, %."""


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
    resnet, alexnet = (
        {f"{name}{ending}": bench.train(name, init=init) for ending, init in INITS.items()}
        for name in ("resnet152", "alexnet")
    )
    columns = (
        RecipeColumn("network", "network", lambda name, _: label_of(name)),
        RecipeColumn("printed", "test accuracy, printed (%)", lambda name, _: PRINTED.get(name)),
        RecipeColumn("measured", "test accuracy, measured (%)", ends("test", "accuracy")),
        RecipeColumn("balanced", "balanced test accuracy, measured (%)", ends("test", "balanced_accuracy")),
        RecipeColumn("validate", "validate accuracy, measured (%)", ends("validate", "accuracy")),
        RecipeColumn("train_loss", "train loss, measured", ends("train", "loss"), digits=3),
    )
    note = f"After the last epoch. {thesis_numbers.TABLE6_RESNET152} The default run's test accuracy is not printed."
    title = "Figures 19 to 22 in numbers: default and Kaiming initialisation"
    bench.table("fig19-22", title, columns, (resnet | alexnet).items(), note)

    def pair(runs: dict[str, list[FinishedRun]], split: str, figure: str) -> Panel:
        return of_networks(runs, split, figure, grey=("resnet152", "alexnet"))

    validate = pair(resnet, "validate", "accuracy"), pair(resnet, "validate", "loss")
    train = pair(resnet, "train", "loss")
    title = "Figure 19: ResNet152 and ResNet152_init, validation accuracy, validation loss and mean training loss"
    bench.curves("fig19", title, *validate, train)
    title = "Figure 20: ResNet152 and ResNet152_init, test accuracy and mean training loss"
    bench.curves("fig20", title, pair(resnet, "test", "accuracy"), train)
    title = "Figure 21: AlexNet and AlexNet_init, validation accuracy and loss"
    bench.curves("fig21", title, pair(alexnet, "validate", "accuracy"), pair(alexnet, "validate", "loss"))
    title = "Figure 22: per-class validation accuracy of AlexNet_init and AlexNet"
    names = reversed(alexnet)
    bench.curves("fig22", title, *(of_classes(alexnet[name], f"{label_of(name)}, {bench.mark}") for name in names))
