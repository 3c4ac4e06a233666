"""The recipes by ID, in the order of the thesis; imports no torch.

An ID is what `lits-deploy reproduce` takes; the function of the same name lives in the module of the same name, with _
for -.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

RESULT = "result.json"
"""What a recipe's folder holds for the page."""

PARTS = {"Thesis": "What the thesis did", "Silent": "Where it is silent", "Ours": "What we chose"}
"""First words of the paragraphs of a recipe's docstring, and their headings."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One line of the registry.

    trains: whether it trains networks, and so is subject to --scale and --seeds. reads: whether it needs data at all.
    """

    id: str
    summary: str
    trains: bool = True
    reads: bool = True

    @property
    def function(self) -> Callable[[Any], None]:
        """The recipe itself, which takes a `lab.bench.Bench`; imports its module."""
        name = self.id.replace("-", "_")
        found: Callable[[Any], None] = getattr(importlib.import_module(f"train.recipes.{name}"), name)
        return found


RECIPES: dict[str, Recipe] = {
    recipe.id: recipe
    for recipe in (
        Recipe(id="table1", summary="Slices of each split and class.", trains=False),
        Recipe(id="fig1-2", summary="A slice of each class, and a slice with its masks.", trains=False),
        Recipe(
            id="table5",
            summary="Layers, stage sizes and parameters of every network; Tables 3 and 4.",
            trains=False,
            reads=False,
        ),
        Recipe(id="fig4", summary="A slice, its target, ResNet18's logits and probabilities."),
        Recipe(id="fig6-7", summary="AlexNet, ResNet34 and ResNet34 without shortcuts (mean of 3 runs); Figure 3."),
        Recipe(id="table6", summary="All six classifiers: parameters, seconds, test accuracy; Figures 12 to 15."),
        Recipe(id="fig16-17", summary="Three learning rates for AlexNet, ResNet18, 34 and 50."),
        Recipe(id="fig18", summary="AlexNet for 30 epochs: classes 1 and 2 against each other; Table 7."),
        Recipe(id="fig19-22", summary="PyTorch's or Kaiming initialisation for ResNet152 and AlexNet."),
        Recipe(id="table8", summary="Training stopped after 10, 15 and 20 minutes; Figure 23."),
        Recipe(id="table9", summary="U-Net: Dice and IoU of each class and epoch; Figures 10, 24 and 25."),
        Recipe(id="gallery", summary="Slices with logits, probabilities, contours and the U-Net's output."),
        Recipe(id="split", summary="Split by patient against split by slice: how much of 98.35 % is leakage."),
    )
}
