"""The two recipes of `lits-deploy train --recipe`: settings of `TrainConfig`, side and number of slices; no torch.

Not to be confused with `train.recipes`, which repeats the thesis's tables and figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
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


def configure(info: Network, given: Mapping[str, Any], **resolved: Any) -> TrainConfig:
    """A run's settings: the recipe's, and over them what was given.

    given: a command's parameters (its `locals()`): fields of `TrainConfig`, size and channels, which None leaves to the
    recipe; window and resize. resolved: fields in place of what was given.
    Raises DataError where the data set declares another window, UserError where the network cannot take the slices.
    """
    settings: dict[str, Any] = {"size": FULL_SIZE, "channels": 1, **RECIPES[given["recipe"]](info)}
    names = {"size", "channels", *(field.name for field in dataclasses.fields(TrainConfig))} & given.keys()
    settings |= {name: given[name] for name in names if given[name] is not None} | resolved
    window, declared = given["window"], read_layout(given["data"]).window_hu
    if window is not None and declared is not None and window != declared:
        raise DataError(f"{given['data']} declares the window {declared} HU, not {window}.", fix="leave --window out")
    side = {name: settings.pop(name) for name in ("size", "channels")}
    contract = input_contract(info, window=window or declared, resize=given["resize"], **side)
    return TrainConfig(**settings, contract=contract)
