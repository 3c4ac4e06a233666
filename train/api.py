"""A training as one function, with the defaults of `lits-deploy train`, and nothing printed."""

from __future__ import annotations

import dataclasses
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lits_deploy.cli.extras import needs
from lits_deploy.contract import ResizeKernel
from lits_deploy.errors import UserError
from train.choices import OnOff
from train.config import Recipe, TrainConfig
from train.models.registry import network
from train.settings import configure

if TYPE_CHECKING:
    from train.session import Observer

_OWN = frozenset({"data", "model", "device", "amp", "compiled", "recipe", "contract"})
_SETTINGS = {"size", "channels", *(field.name for field in dataclasses.fields(TrainConfig))} - _OWN


def train(
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    model: str = "resnet18",
    recipe: Recipe = "thesis",
    window: tuple[float, float] | None = None,
    resize: ResizeKernel = "box",
    device: str = "auto",
    amp: OnOff = "auto",
    compiled: OnOff = "auto",
    resume: bool = False,
    observer: Observer | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train a network on the data set `data` in the folder `out`; the figures on `test`, which are in test.json, too.

    model: a name that `lits-deploy models` lists. window: in HU, where the data set does not declare one.
    observer: is told how it goes (`train.session.Observer`). settings: `size`, `channels` and fields of
    `train.config.TrainConfig` (epochs, lr, seed …) in place of the recipe's.
    Raises DataError for unusable data, OutputError where `out` holds another run, UserError for settings that do not go
    together, MissingExtra without PyTorch. Folds: `train.folds.run.train_folds`.
    """
    if unknown := sorted(settings.keys() - _SETTINGS):
        raise UserError(f"`{unknown[0]}` is not a setting.", fix=f"use {', '.join(sorted(_SETTINGS))}")
    info = network(model)
    with needs("train"):
        from train.device import compiled as compiled_on
        from train.device import torch_device, use_amp
        from train.run import train as run
    target = torch_device(device)
    given = {"data": Path(data), "model": model, "recipe": recipe, "window": window, "resize": resize, **settings}
    resolved = {"device": str(target), "amp": use_amp(amp, target), "compiled": compiled_on(compiled, target)}
    return run(configure(info, given, **resolved), Path(out), resume=resume, observer=observer)
