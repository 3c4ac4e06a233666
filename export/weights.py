"""Weights as people have them: read without unpickling, brought to plain names, dense, finite and float32.

Takes a state dict, or a dictionary that holds one (`state_dict`, `model`, …), in a PyTorch file or in safetensors;
names with the prefixes of DataParallel, torch.compile, averages and other wrappers; checkpoints of ours. What was done
to the file's content is recorded (`Weights.done`). Knows nothing of networks: `export.fit` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lits_deploy.errors import DataError

SAVE = "where the network was trained: torch.save(model.state_dict(), FILE)"
"""The fix for files that hold no state dict."""

HOLDERS = ("state_dict", "model_state_dict", "model", "network", "net")
"""Keys of a checkpoint that hold the weights, in the order they are looked for."""

_WRAPPERS = ("module", "_orig_mod")  # of DataParallel, DistributedDataParallel and averages; of torch.compile
_AVERAGED = "n_averaged"  # torch.optim.swa_utils.AveragedModel counts its updates beside the weights
_OURS = "model."  # see `train.checkpoint`


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a file holds.

    tensors: by plain name, on the CPU; floats are float32. done: what was done to get there, a line each. record: of a
    checkpoint of ours, as `train.checkpoint.save` wrote it; None for other files.
    """

    path: Path
    tensors: dict[str, Tensor]
    done: tuple[str, ...]
    record: dict[str, Any] | None = None


def read_weights(path: Path) -> Weights:
    """Read a file of weights; DataError where it holds none that can be used, and which."""
    if path.is_dir():
        raise DataError(f"{path} is a folder.", fix=f"lits-deploy export {path}, if it is a run; or --weights FILE")
    if not path.is_file():
        raise DataError(f"There is no file {path}.", fix="give --weights FILE")
    record = None
    done: list[str] = []
    if path.suffix == ".safetensors":
        tensors, record = _safetensors(path, done)
    else:
        tensors = _state_dict(_unpickled(path), path, done)
    if record is None:
        tensors = _plain_names(tensors, path, done)
    tensors = _float32(tensors, path, done)
    require_finite(tensors, path)
    return Weights(path=path, tensors=tensors, done=tuple(done), record=record)


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """DataError, naming the first, where tensors hold NaN or infinite numbers, which make every answer NaN."""
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        what = "NaN" if bool(tensors[broken[0]].isnan().any()) else "infinite numbers"
        raise DataError(
            f"{path} holds {what} in {broken[0]} ({len(broken)} of {len(tensors)} tensors are not finite).",
            fix="give a checkpoint from before the training diverged, or train again with a lower learning rate",
        )


def some(names: list[str], most: int = 3) -> str:
    """The first few of some names, as text."""
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def _safetensors(path: Path, done: list[str]) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stream:
            names, metadata = list(stream.keys()), stream.metadata() or {}
            ours = [name for name in names if name.startswith(_OURS)] if "record" in metadata else []
            tensors = {name: stream.get_tensor(name) for name in ours or names}
    except SafetensorError as error:
        raise DataError(f"{path} is not a safetensors file ({error}).", fix="save the state dict again") from error
    if not tensors:
        raise DataError(f"{path} holds no tensors.", fix=SAVE)
    if not ours:
        return tensors, None
    try:
        record = json.loads(metadata["record"])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is a checkpoint whose record is damaged ({error}).", fix="copy it again") from error
    rest = sorted({name.split(".")[0] for name in names} - {_OURS[:-1]})
    done.append("a checkpoint of lits-deploy" + (f"; left out {some(rest)}" if rest else ""))
    return {name.removeprefix(_OURS): value for name, value in tensors.items()}, record


class _Inert:
    """Stands for an object of a checkpoint that is no tensor (a namespace, a numpy number): nothing of it is made.

    weights_only refuses a whole file for one such object, and the weights need none of them. So each name that the file
    would have imported leads to a class like this, which imports, calls and keeps nothing.
    """

    named = ""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _unpickled(path: Path) -> object:
    """What `torch.load` makes of a file with weights_only: tensors, plain values and containers, else `_Inert`."""
    serialization: Any = torch.serialization
    try:
        foreign = serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # of a file in the format before 1.6, or of no such file at all, it cannot tell: torch.load can
        foreign = []
    inert = [(type("_Inert", (_Inert,), {"named": name}), name) for name in foreign]
    try:
        with serialization.safe_globals(inert):
            found: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file makes the unpickler raise almost anything
        raise DataError(f"{path} is not a plain state dict; nothing else is unpickled.", fix=SAVE) from error
    if isinstance(found, _Inert):
        raise DataError(
            f"{path} is a whole pickled object ({found.named}), not a plain state dict: it is never unpickled.",
            fix=SAVE,
        )
    return found


def _state_dict(found: object, path: Path, done: list[str]) -> dict[str, Tensor]:
    """The innermost dictionary of named tensors."""
    for _ in range(4):
        if not isinstance(found, Mapping) or not found:
            break
        named = {k: v for k, v in found.items() if isinstance(k, str)}
        tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
        if any("." in name for name in tensors):  # a lone number such as a loss is none of a network
            if rest := [str(name) for name in found if name not in tensors]:
                done.append(f"left out {some(rest)}, which are no tensors")
            return tensors
        inside = {name: value for name, value in named.items() if _holds_tensors(value)}
        chosen = next((name for name in HOLDERS if name in inside), None)
        if chosen is None and len(inside) > 1:
            raise DataError(f"{path} holds several state dicts: {some(list(inside), 6)}.", fix="save one of them alone")
        if chosen is None and not inside:
            break
        chosen = chosen or next(iter(inside))
        rest = [str(name) for name in found if name != chosen]
        done.append(f"took `{chosen}`" + (f", left out {some(rest, 6)}" if rest else ""))
        found = inside[chosen]
    raise DataError(f"{path} is not a plain state dict, and holds none.", fix=SAVE)


def _holds_tensors(value: object, depth: int = 3) -> bool:
    if not isinstance(value, Mapping) or not depth:
        return False
    return any(
        (isinstance(inner, Tensor) and "." in str(name)) or _holds_tensors(inner, depth - 1)
        for name, inner in value.items()
    )


def _plain_names(tensors: dict[str, Tensor], path: Path, done: list[str]) -> dict[str, Tensor]:
    """Without the names of wrappers, wherever they stand, and without a first name that all share."""
    plain: dict[str, Tensor] = {}
    cut: dict[str, None] = {}
    for name, value in tensors.items():
        parts = name.split(".")
        kept = ".".join(part for part in parts if part not in _WRAPPERS)
        cut.update(dict.fromkeys(part for part in parts if part in _WRAPPERS))
        if kept in plain:
            raise DataError(f"{path} holds {kept} twice, with and without a prefix.", fix="save one state dict alone")
        plain[kept] = value
    if cut and _AVERAGED in plain:
        del plain[_AVERAGED]
        done.append(f"left out {_AVERAGED}: the weights are averages")
    while len(first := {name.partition(".")[0] for name in plain}) == 1 and all("." in name for name in plain):
        cut.update(dict.fromkeys(first))  # each network of ours has more than one part
        plain = {name.partition(".")[2]: value for name, value in plain.items()}
    if cut:
        done.append("cut " + " and ".join(f"`{part}.`" for part in cut) + " off the names")
    return plain


def _float32(tensors: dict[str, Tensor], path: Path, done: list[str]) -> dict[str, Tensor]:
    """Dense tensors with values; floats as float32."""
    converted: dict[str, Tensor] = {}
    kinds: dict[str, None] = {}
    for name, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_complex():
            kind = "quantised" if value.is_quantized else "without values" if value.is_meta else str(value.dtype)
            kind = str(value.layout) if value.layout != torch.strided else kind
            raise DataError(f"{path} holds {name}, which is {kind}.", fix="save dense weights in float32")
        if value.is_floating_point() and value.dtype != torch.float32:
            kinds[str(value.dtype).removeprefix("torch.")] = None
            value = value.float()
        converted[name] = value.detach()
    if kinds:
        done.append(f"converted from {' and '.join(kinds)} to float32")
    return converted
