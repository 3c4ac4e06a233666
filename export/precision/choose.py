"""Which ranges an INT8 file is quantised over: tried one after another on calibration slices, the closest one wins.

No way of choosing ranges is best for every network: on two checkpoints of one training run `max` was the best and then
the worst for TensorRT's file, and `entropy` the other way round for the CPU's (docs/log.md). Only training patients are
looked at, so the gate on validate stays a judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from export.precision.make import Recipe
from export.precision.ranges import METHODS, Activation, Method
from export.precision.simulated import Simulated
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import Runtime
from lits_deploy.runtime.device import Device
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from train.data.spread import evenly

SLICES = 96
"""Calibration slices, evenly spread, that each way is tried on."""

_BATCH = 4


def choose_ranges(
    recipe: Recipe,
    model: onnx.ModelProto,
    seen: Mapping[str, Activation],
    slices: npt.NDArray[np.uint8],
    path: Path,
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Write the file of a recipe to `path`, over the ranges whose answers are closest to those of the FP32 model.

    slices: uint8 [N, C, S, S] of training patients; a spread of SLICES of them is used. Closest is the smallest mean
    |Δp|; an answer that is not finite never wins. Returns what the manifest says: the way, and the mean |Δp| of each.
    """
    few = slices[evenly(range(len(slices)), SLICES)]
    onnx.save_model(model, str(path))
    expected = _answers(path, few, simulated=False)
    tried: dict[Method, float] = {}
    for method in METHODS:
        onnx.save_model(recipe.make(model, seen, method), str(path))
        delta = np.abs(_answers(path, few, simulated="onnxruntime" not in recipe.runtimes) - expected)
        tried[method] = float(np.where(np.isfinite(delta), delta, 1.0).mean())
        progress(len(few))
    method = min(tried, key=lambda name: tried[name])
    onnx.save_model(recipe.make(model, seen, method), str(path))
    return {"ranges": method, "tried": tried, "tried_on": len(few)}


def _answers(path: Path, slices: npt.NDArray[np.uint8], *, simulated: bool) -> npt.NDArray[np.float32]:
    """Probabilities of an ONNX file on the CPU, [N, 3] or [N, 3, S, S]."""
    shape, wanted = (slices.shape[1], slices.shape[2], slices.shape[3]), ("probabilities",)
    runtime: Runtime
    if simulated:
        runtime = Simulated(ModelFile.read(path), precision="int8", shape=shape, wanted=wanted, max_batch=_BATCH)
    else:
        runtime = OnnxRuntime(
            ModelFile.read(path), device=Device("cpu"), precision="int8", shape=shape, wanted=wanted, max_batch=_BATCH
        )
    found = []
    with runtime:
        for start in range(0, len(slices), _BATCH):
            got = runtime.infer(slices[start : start + _BATCH]).probabilities
            assert got is not None
            found.append(got)
    return np.concatenate(found)
