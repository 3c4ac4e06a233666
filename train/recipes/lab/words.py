"""What stands beside every table and figure: how much smaller than the thesis, which data and split, the disclaimer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lits_deploy import DISCLAIMER
from lits_deploy.synthetic import MARK
from train.data.layout import SPLITS
from train.models.registry import UNET_WIDTH

if TYPE_CHECKING:
    from train.recipes.lab.bench import Bench

RESULT = "result.json"
"""What a recipe's folder holds for the page."""

PARTS = {"Thesis": "What the thesis did", "Silent": "Where it is silent", "Ours": "What we chose"}
"""First words of the paragraphs of a recipe's docstring, and their headings."""


def scale_line(bench: Bench) -> str:
    """Whether and by how much the recipe was scaled down."""
    if not bench.recipe.trains:
        return "Not scaled." if bench.recipe.reads else "Not scaled: needs no data."
    scale = bench.scale
    if scale.full:
        return "Full scale."
    counts = [f"{len(bench.splits[split]):,} of {len(bench.data.layout.splits[split]):,} {split}" for split in SPLITS]
    parts = [f"{', '.join(counts)} slices", f"epochs × {scale.epochs:.2g} (2 at least)"]
    if bench.recipe.id in ("table9", "gallery"):
        parts.append(f"U-Net width {scale.width} of {UNET_WIDTH}")
    if bench.recipe.id == "table8" and bench.settings.budget == "minutes":
        parts.append(f"minutes × {scale.minutes:.3g}")
    return f"SCALED DOWN (--scale {scale.name}): {'; '.join(parts)}."


def data_line(bench: Bench) -> str:
    """Which data, split how; nothing for a recipe that reads none."""
    if not bench.recipe.reads:
        return ""
    layout = bench.data.layout
    split = "split BY SLICE (accuracies are too high)" if layout.split_by == "slice" else "split by patient"
    return ", ".join([f"Data {bench.data.name}", *[MARK] * layout.synthetic, f"{split}."])


def footnote(bench: Bench) -> str:
    """The line below every table and figure."""
    parts = [scale_line(bench), data_line(bench)]
    if bench.recipe.trains and bench.settings.seeds > 1:
        parts.append(f"{bench.settings.seeds} seeds: mean, and standard deviation or range.")
    return " ".join(part for part in [*parts, DISCLAIMER] if part)
