"""The two recipes of `lits-deploy train --recipe`: settings of `TrainConfig`, side and number of slices; no torch.

Not to be confused with `train.recipes`, which repeats the thesis's tables and figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lits_deploy.contract import InputContract, ResizeKernel
from lits_deploy.errors import DataError, UserError
from train.config import Recipe, TrainConfig
from train.data.layout import read_layout
from train.models.registry import Network

FULL_SIZE = 256
"""Side of the thesis's slices."""


def thesis(info: Network) -> dict[str, Any]:
    """Section 5.2: the defaults of `TrainConfig`."""
    return {}


def strong(info: Network) -> dict[str, Any]:
    """What did best on validate patients of LiTS (17 to train on; docs/log.md, 2026-11-25 and 28), on no others."""
    common: dict[str, Any] = {
        "augment": "strong",
        "sampling": "balanced",
        "optimiser": "adamw",
        "weight_decay": 0.05,
        "schedule": "cosine",
        "average": 0.99,
        "size": 128 if info.any_size else FULL_SIZE,
    }
    if info.task == "segment":
        return {**common, "epochs": 14, "lr": 2e-3, "dice": 1.0}
    return {**common, "channels": 3, "epochs": 10, "lr": 5e-4, "masks": 1.0}


def input_contract(
    info: Network,
    *,
    window: tuple[float, float] | None = None,
    size: int = FULL_SIZE,
    channels: int = 1,
    resize: ResizeKernel = "box",
) -> InputContract:
    """What a network is given, its crop in proportion to the side; UserError where it cannot take the side."""
    if size != FULL_SIZE and not info.any_size:
        raise UserError(f"{info.name} takes slices of {FULL_SIZE} pixels only.", fix=f"--size {FULL_SIZE}")
    if size % 32:  # five halvings
        raise UserError(f"{size} pixels cannot be halved five times.", fix=f"--size {max(64, size // 32 * 32)}")
    if size > FULL_SIZE and resize == "never":
        raise UserError(f"--resize never allows no slices of {size} pixels.", fix="--resize box")
    crop = None if info.crop is None else info.crop * size // FULL_SIZE
    return InputContract(window_hu=window, crop=crop, resize=resize, size=size, channels=channels)


RECIPES: dict[Recipe, Callable[[Network], dict[str, Any]]] = {"thesis": thesis, "strong": strong}


def configure(
    info: Network,
    recipe: Recipe,
    chosen: Mapping[str, Any],
    *,
    data: Path,
    window: tuple[float, float] | None,
    resize: ResizeKernel,
    **rest: Any,
) -> TrainConfig:
    """A run's settings: the recipe's, and over them what was chosen.

    chosen: fields of `TrainConfig`, size and channels; None leaves one to the recipe. rest: further fields.
    Raises DataError where the data set declares another window, UserError where the network cannot take the slices.
    """
    settings: dict[str, Any] = {"size": FULL_SIZE, "channels": 1, **RECIPES[recipe](info)}
    settings |= {name: value for name, value in chosen.items() if value is not None}
    declared = read_layout(data).window_hu
    if window is not None and declared is not None and window != declared:
        raise DataError(f"{data} declares the window {declared} HU, not {window}.", fix="leave --window out")
    size, channels = settings.pop("size"), settings.pop("channels")
    contract = input_contract(info, window=window or declared, size=size, channels=channels, resize=resize)
    return TrainConfig(model=info.name, data=data, recipe=recipe, contract=contract, **rest, **settings)
