"""The files that --fp16 and --int8 make, by name: how each comes from the FP32 graph, and for which runtimes it is.

What is set here was chosen by measurement on a ResNet18 of LiTS slices (docs/log.md). Where the activations of an INT8
file are clipped is chosen anew for every network, on calibration slices: no way of choosing ranges is best for every
one. On two checkpoints of one training run `max` was the best and then the worst for TensorRT's file, and `entropy` the
other way round for the CPU's (docs/log.md). Only training patients are looked at, so the gate on validate stays a
judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from export.precision import fp16, int8_cpu, int8_tensorrt
from export.precision.ranges import METHODS, Activation, Method
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import Device, RuntimeOptions
from lits_deploy.runtime.onnxruntime_ import OnnxRuntime
from train.data.spread import evenly

Make = Callable[..., onnx.ModelProto]
"""(FP32 graph, its activations, where to clip them [max: nowhere, and needs no histograms]) → another graph."""


@dataclass(frozen=True, kw_only=True)
class ArtifactRecipe:
    """One artifact besides FP32.

    runtimes, devices: those it is placed for; empty: any. half: FP16 holds its activations, so their range is checked.
    record: what the manifest says of the making.
    """

    name: str
    file: str
    precision: str
    runtimes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    half: bool = False
    record: dict[str, Any] = field(default_factory=dict)
    make: Make


def recipes(*, with_fp16: bool, with_int8: bool) -> list[ArtifactRecipe]:
    """The recipes of the precisions asked for: INT8 is two files."""
    return [*([FP16] if with_fp16 else []), *([INT8_CPU, INT8_TENSORRT] if with_int8 else [])]


FP16 = ArtifactRecipe(
    name="fp16",
    file="model.fp16.onnx",
    precision="fp16",
    half=True,
    record={"tool": "lits-deploy", "float32": "input cast to scaling, softmax, argmax"},
    make=lambda model, *_: fp16.to_fp16(model),
)

INT8_CPU = ArtifactRecipe(
    name="int8-cpu",
    file="model.int8-cpu.onnx",
    precision="int8",
    runtimes=("onnxruntime", "openvino"),
    devices=("cpu",),
    record={
        "tool": "onnxruntime.quantization",
        "activations": "uint8 with zero point",
        "weights": "int8 in 7 bits, symmetric, per output channel",
        "float32": "last layer, softmax",
    },
    make=int8_cpu.to_int8,
)

INT8_TENSORRT = ArtifactRecipe(
    name="int8-trt",
    file="model.int8-trt.onnx",
    precision="int8",
    runtimes=("tensorrt",),
    devices=("cuda",),
    half=True,
    record={
        "tool": "lits-deploy",
        "activations": "int8, symmetric",
        "weights": "int8, symmetric, per output channel",
        "float16": "last layer and all that is not a layer",
        "float32": "input cast to scaling, softmax, argmax",
    },
    make=int8_tensorrt.to_int8,
)

SLICES = 96
"""Calibration slices, evenly spread, that each way is tried on."""

AMPLE_MIB = 1 << 20
"""No bound of memory but the machine's: the file is ours, and the weights of a VGG grow eightfold in a simulation."""

_BATCH = 4


def choose_ranges(
    recipe: ArtifactRecipe,
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
    expected = _answers(path, few, OnnxRuntime)
    kind = OnnxRuntime if "onnxruntime" in recipe.runtimes else Simulated
    tried: dict[Method, float] = {}
    for method in METHODS:
        onnx.save_model(recipe.make(model, seen, method), str(path))
        delta = np.abs(_answers(path, few, kind) - expected)
        tried[method] = float(np.where(np.isfinite(delta), delta, 1.0).mean())
        progress(len(few))
    method = min(tried, key=lambda name: tried[name])
    onnx.save_model(recipe.make(model, seen, method), str(path))
    return {"ranges": method, "tried": tried, "tried_on": len(few)}


class Simulated(OnnxRuntime):
    """A Q/DQ graph on the CPU, every quantisation carried out in floating point as it is written: what its INT8 layers
    would answer.

    For artifacts whose runtime is not here (TensorRT without a GPU). ONNX Runtime is told not to replace Q/DQ by its
    integer kernels: for a graph placed for TensorRT those are slower, and on graphs with FP16 scales they were wrong
    (docs/log.md).
    """

    name: ClassVar[str] = "simulation"
    settings: ClassVar[dict[str, str]] = {"session.disable_quant_qdq": "1"}


def _answers(path: Path, slices: npt.NDArray[np.uint8], kind: type[OnnxRuntime]) -> npt.NDArray[np.float32]:
    """Probabilities of an ONNX file on the CPU, [N, 3] or [N, 3, S, S]."""
    found = []
    with kind(
        ModelFile.read(path),
        device=Device("cpu"),
        precision="int8",
        shape=(slices.shape[1], slices.shape[2], slices.shape[3]),
        wanted=("probabilities",),
        max_batch=_BATCH,
        options=RuntimeOptions(memory_limit_mib=AMPLE_MIB),
    ) as runtime:
        for start in range(0, len(slices), _BATCH):
            got = runtime.infer(slices[start : start + _BATCH]).probabilities
            assert got is not None
            found.append(got)
    return np.concatenate(found)
