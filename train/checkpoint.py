"""Checkpoints: safetensors with their record in the file's own header, and the same record as JSON beside it.

One rename makes a checkpoint, so it is the old one or the new one after a power cut. The JSON is a copy for people. It
is taken away before its checkpoint is replaced: a kill in between leaves none, not another epoch's (`write_record`).
Nothing is unpickled.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lits_deploy.errors import DataError
from lits_deploy.files import atomic_path, write_json
from lits_deploy.printable import printable_json

_MODEL, _OPTIMISER, _TRAINED = "model.", "optimiser.", "trained."


def save(
    path: Path,
    model: nn.Module,
    record: dict[str, Any],
    optimiser: torch.optim.Optimizer | None = None,
    trained: nn.Module | None = None,
) -> None:
    """Write `path` (.safetensors) and its .json record; tensors keep their dtypes. Shared tensors are stored once.

    model: the network itself. trained: what the optimiser changes, where that is more or another than the network: with
    a head for training only, or where the network is an average.
    """
    tensors = {_MODEL + name: value for name, value in _unshared(model).items()}
    if trained is not None:
        tensors.update({_TRAINED + name: value for name, value in _unshared(trained).items()})
    if optimiser is not None:
        for index, state in optimiser.state_dict()["state"].items():
            tensors.update({f"{_OPTIMISER}{index}.{key}": torch.as_tensor(value) for key, value in state.items()})
    _write(path, {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, record)


def _write(path: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    side = path.with_suffix(".json")
    with atomic_path(side) as written:
        written.write_bytes((printable_json(record, sort_keys=True, allow_nan=False) + "\n").encode())
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"record": json.dumps(record)})
            temporary.chmod(0o644)  # safetensors makes files that nobody else may read
            for made in (written, temporary):  # a full disk shows here, while the old pair is whole
                with made.open("rb+") as stream:
                    os.fsync(stream.fileno())
            side.unlink(missing_ok=True)


def write_record(path: Path) -> None:
    """Write the JSON beside a checkpoint where a kill came between the two."""
    if path.is_file() and not path.with_suffix(".json").exists():
        write_json(path.with_suffix(".json"), read_record(path))


def read_record(path: Path) -> dict[str, Any]:
    """The record that `save` stored; DataError where the file is missing or not a checkpoint."""
    if not path.is_file():
        raise DataError(
            f"There is no checkpoint {path}.", fix="train first, or name a RUN that `lits-deploy train` made"
        )
    try:
        with safe_open(path, framework="pt") as stream:
            record: dict[str, Any] = json.loads((stream.metadata() or {})["record"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path} is not a checkpoint of ours ({error}).", fix="train again") from error
    return record


def load(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer | None = None, trained: nn.Module | None = None
) -> dict[str, Any]:
    """Fill a model (and the rest that `save` took) of the same architecture; returns the record.

    DataError where they do not fit.
    """
    record = read_record(path)
    tensors: dict[str, Tensor] = {}
    with safe_open(path, framework="pt") as stream:
        for name in stream.keys():  # noqa: SIM118 - not a dictionary
            tensors[name] = stream.get_tensor(name)
    for prefix, module in ((_MODEL, model), (_TRAINED, trained)):
        if module is not None:
            weights = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            load_weights(module, weights, path)
    if optimiser is not None:
        if not any(name.startswith(_OPTIMISER) for name in tensors):
            raise DataError(f"{path} holds weights without their optimiser: no run goes on from it.", fix="train anew")
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(_OPTIMISER):
                index, key = name.removeprefix(_OPTIMISER).split(".", 1)
                state.setdefault(int(index), {})[key] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        _lay_out(optimiser)
    return record


def has_optimiser(path: Path) -> bool:
    """Whether a training can go on from a checkpoint."""
    with safe_open(path, framework="pt") as stream:
        return any(name.startswith(_OPTIMISER) for name in stream.keys())  # noqa: SIM118 - not a dictionary


def copy_weights(source: Path, target: Path) -> None:
    """Write a checkpoint's weights and record to `target` (which may be `source`), without the optimiser."""
    record = read_record(source)
    with safe_open(source, framework="pt") as stream:
        names = [name for name in stream.keys() if name.startswith(_MODEL)]  # noqa: SIM118 - not a dictionary
        tensors = {name: stream.get_tensor(name) for name in names}
    _write(target, tensors, record)


def _lay_out(optimiser: torch.optim.Optimizer) -> None:
    """Give each moment the memory layout of its parameter.

    A fused optimiser walks both in the order of their memory: a channels_last weight with a contiguous moment would be
    stepped by the moments of other weights, silently (PyTorch 2.14, CPU).
    """
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Copy a state dict into a model, all names and shapes matching; DataError names the first that does not."""
    expected = _unshared(model)
    problems = [f"lacks {name}" for name in expected if name not in weights]
    problems += [f"has the unknown tensor {name}" for name in weights if name not in model.state_dict()]
    problems += [
        f"has {name} as {list(weights[name].shape)}, not {list(value.shape)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if problems:
        raise DataError(
            f"{path} does not fit the network: it {problems[0]} ({len(problems)} such).", fix="name the right --model"
        )
    model.load_state_dict(weights, strict=False)


def _unshared(model: nn.Module) -> dict[str, Tensor]:
    """The state dict without second names of one tensor (tied blocks), which safetensors refuses to store."""
    seen: set[int] = set()
    kept = {}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            seen.add(id(value))
            kept[name] = value
    return kept
