"""The files that --fp16 and --int8 make, by name: how each comes from the FP32 graph, and for which runtimes it is.

What is set here was chosen by measurement on a ResNet18 of LiTS slices (docs/log.md). Where activations are clipped is
chosen anew for every network (`export.precision.choose`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import onnx

from export.precision import fp16, int8_cpu, int8_tensorrt
from export.precision.layers import weighted
from export.precision.ranges import Activation, Method


class Make(Protocol):
    """FP32 graph, its activations and where to clip them → another graph."""

    def __call__(
        self, model: onnx.ModelProto, seen: Mapping[str, Activation], method: Method = "max", /
    ) -> onnx.ModelProto:
        """The graph; `max` clips nothing and needs no histograms."""
        ...


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One artifact besides FP32.

    runtimes, devices: those it is placed for; empty: any. half: FP16 holds its activations, so their range is checked.
    record: what the manifest says of the making. make: FP32 graph, its activations and where to clip them → graph.
    """

    name: str
    file: str
    precision: str
    runtimes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    half: bool = False
    record: dict[str, Any] = field(default_factory=dict)
    make: Make


def recipes(*, with_fp16: bool, with_int8: bool) -> list[Recipe]:
    """The recipes of the precisions asked for: INT8 is two files."""
    chosen = []
    if with_fp16:
        chosen.append(FP16)
    if with_int8:
        chosen += [INT8_CPU, INT8_TENSORRT]
    return chosen


def floating(model: onnx.ModelProto) -> list[str]:
    """Nodes that INT8 leaves in floating point: the last layer, whose few numbers decide; they cost no time."""
    return [model.graph.node[weighted(model)[-1]].name]


FP16 = Recipe(
    name="fp16",
    file="model.fp16.onnx",
    precision="fp16",
    half=True,
    record={"tool": "lits-deploy", "float32": "input cast to scaling, softmax, argmax"},
    make=lambda model, _seen, _method="max": fp16.to_fp16(model),
)

INT8_CPU = Recipe(
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
    make=lambda model, seen, method="max": int8_cpu.to_int8(model, seen, method=method, floating=floating(model)),
)

INT8_TENSORRT = Recipe(
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
    make=lambda model, seen, method="max": int8_tensorrt.to_int8(model, seen, method=method, floating=floating(model)),
)
