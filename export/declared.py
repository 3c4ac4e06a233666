"""Bare weights with what the user says of them, or with what a checkpoint of ours says of itself."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.source import Original, of_weights
from export.weights import Weights, read_weights
from lits_deploy.errors import DataError, UserError
from train.config import TrainConfig
from train.models.registry import network
from train.settings import FULL_SIZE, input_contract


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a user says of weights: None where nothing is said.

    window: in HU; it is kept apart from the rest, for no checkpoint need have recorded it.
    """

    model: str | None = None
    width: int | None = None
    channels: int | None = None
    size: int | None = None
    window: tuple[float, float] | None = None


def open_weights(path: Path, declared: Declared, *, data: Path | None = None) -> Original:
    """The original of a file of weights, `training["adapted"]` telling what was done to read it.

    data: the data set to take parity slices from. Raises DataError where the file cannot be used or contradicts what is
    declared, UserError where the model is not known.
    """
    found = read_weights(path)
    if found.record is None:
        if declared.model is None:
            raise UserError("--weights needs --model.", fix="name the network, see `lits-deploy models`")
        info, size = network(declared.model), declared.size or FULL_SIZE
        contract = input_contract(info, size=size, channels=declared.channels or 1)
        original = of_weights(found, info.name, width=declared.width, contract=contract)
    else:
        original = _of_checkpoint(found, declared)
    return original.with_data(data).with_window(declared.window)


def _of_checkpoint(found: Weights, declared: Declared) -> Original:
    record: dict[str, Any] = found.record or {}
    try:
        config = TrainConfig.from_json(record["config"])
        epoch = int(record["epoch"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{found.path} has a record that cannot be read ({error}).", fix="train again") from error
    recorded = {
        "model": config.model,
        "width": config.width,
        "channels": config.contract.channels,
        "size": config.contract.size,
    }
    for name, value in recorded.items():
        said = getattr(declared, name)
        if said is not None and said != value:
            raise DataError(f"{found.path} was trained with {name} {value}, not {said}.", fix=f"leave --{name} out")
    original = of_weights(found, config.model, width=config.width, contract=config.contract)
    settings = {key: value for key, value in config.to_json().items() if key not in ("contract", "data")}
    training = {
        **original.training,
        "checkpoint_sha256": original.training["weights_sha256"],
        "epoch": epoch,
        "settings": settings,
    }
    return dataclasses.replace(original, training=training)
