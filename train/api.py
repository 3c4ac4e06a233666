"""A training as one function, with the defaults of `lits-deploy train`, and nothing printed."""

from __future__ import annotations

import dataclasses
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lits_deploy.cli.extras import needs
from lits_deploy.contract import ResizeKernel
from lits_deploy.errors import OutputError, UserError
from train.choices import OnOff
from train.config import Recipe, TrainConfig
from train.models.registry import network
from train.runs_folder import is_folded
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
    folds: int | None = None,
    final: bool = False,
    resume: bool = False,
    observer: Observer | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Train a network on the data set `data` in the folder `out`; the figures on `test`, which are in test.json, too.

    folds: train so many networks, each without a part of the patients of train and validate; the figures are then those
    on the patients held out, with those of each fold in `by_fold`. final: with folds, one more network on all of these
    patients.

    model: a name that `lits-deploy models` lists. window: in HU, where the data set does not declare one.
    observer: follows the progress (`train.session.Observer`). settings: `size`, `channels` and fields of
    `train.config.TrainConfig` (epochs, lr, seed …) in place of the recipe's.
    Raises DataError for unusable data, OutputError where `out` holds another run, UserError for settings that do not go
    together, MissingExtra without PyTorch.
    """
    if final and folds is None:
        raise UserError("`final` goes with `folds`.", fix="give folds=K, or leave final out")
    if unknown := sorted(settings.keys() - _SETTINGS):
        raise UserError(f"`{unknown[0]}` is not a setting.", fix=f"use {', '.join(sorted(_SETTINGS))}")
    info = network(model)
    with needs("train"):
        from train.device import compiled as compiled_on
        from train.device import torch_device, use_amp
        from train.folds.figures import by_fold, figures_of
        from train.folds.run import train_folds
        from train.out_of_fold import of_run
        from train.run import train as run
    target = torch_device(device)
    given = {"data": Path(data), "model": model, "recipe": recipe, "window": window, "resize": resize, **settings}
    resolved = {"device": str(target), "amp": use_amp(amp, target), "compiled": compiled_on(compiled, target)}
    config, folder = configure(info, given, **resolved), Path(out)
    if folds is None:
        if is_folded(folder):
            raise OutputError(f"{folder} is a folded run.", fix="give folds=K, or another folder")
        return run(config, folder, resume=resume, observer=observer)
    train_folds(config, folder, folds, final=final, resume=resume, observer=observer)
    answers = of_run(folder)
    return {**figures_of(answers), "by_fold": by_fold(answers)}
