"""INT8 for TensorRT: explicit Q/DQ in an FP16 graph, placed so that TensorRT fuses and its parser accepts it.

Symmetric throughout: activations per tensor, weights per output channel. Q/DQ stands on the input of every layer that
is quantised and on the shortcut of every addition; outputs get none, so that convolution, ReLU and addition fuse.
Biases stay FP16 (an INT32 bias behind DequantizeLinear is refused by the parser). Placement after NVIDIA's
"Working with quantized types" (TensorRT documentation) and what `tensorrt_rtx` built from it here (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from export.precision.fp16 import to_fp16
from export.precision.layers import drop_unused_weights, heads, residual_inputs, weighted
from export.precision.ranges import Activation, Method

LARGEST = 127
"""Magnitude of the largest 8-bit number used; −128 is left out, so that zero stays the middle."""

SMALLEST_SCALE = float(np.finfo(np.float16).tiny)
"""Scales are FP16 here; a smaller one would be subnormal."""


def to_int8(
    model: onnx.ModelProto,
    seen: Mapping[str, Activation],
    method: Method = "max",
    *,
    floating: Collection[str] | None = None,
) -> onnx.ModelProto:
    """An FP32 model as FP16 with INT8 layers.

    seen: ranges of the FP32 model's activations; method: where they are clipped; floating: names of the layers (nodes)
    that stay FP16 [the last one, whose few numbers decide; of averaged networks, each's].
    """
    half = to_fp16(model)
    if floating is None:
        floating = [model.graph.node[index].name for index in heads(model)]
    names = {node.name for index in weighted(model) if (node := model.graph.node[index]).name not in floating}
    quantiser = _Quantiser(half, {name: values.clipped(method) for name, values in seen.items()})
    targets = [(index, 0) for index in weighted(half) if half.graph.node[index].name in names]
    shortcuts = [(i, p) for i, p in residual_inputs(half) if half.graph.node[i].input[p] in quantiser.ranges]
    for index in weighted(half):
        if half.graph.node[index].name in names:
            quantiser.weight(half.graph.node[index])
    for index, n in targets + shortcuts:
        quantiser.activation(half.graph.node[index], n)
    quantiser.finish()
    drop_unused_weights(half)
    onnx.checker.check_model(half, full_check=True)
    return half


class _Quantiser:
    """Puts Q/DQ pairs into one graph; a tensor that several nodes read gets one pair."""

    def __init__(self, model: onnx.ModelProto, ranges: dict[str, tuple[float, float]]) -> None:
        self.graph, self.ranges = model.graph, ranges
        self._before: dict[str, list[onnx.NodeProto]] = {}
        self._pairs: dict[str, str] = {}
        self._shared: set[str] = set()
        self._weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self._constant("int8_zero", np.zeros((), np.int8))

    def activation(self, node: onnx.NodeProto, n: int) -> None:
        name = node.input[n]
        if name not in self._pairs:
            low, high = self.ranges[name.removesuffix("_fp16")]
            scale = max(max(-low, high) / LARGEST, SMALLEST_SCALE)
            self._constant(f"{name}_scale", np.array(scale, np.float16))
            arguments = [f"{name}_scale", "int8_zero"]
            self._before[name] = [
                helper.make_node("QuantizeLinear", [name, *arguments], [f"{name}_int8"], name=f"{name}_quantise"),
                helper.make_node(
                    "DequantizeLinear", [f"{name}_int8", *arguments], [f"{name}_dq"], name=f"{name}_dequantise"
                ),
            ]
            self._pairs[name] = f"{name}_dq"
        node.input[n] = self._pairs[name]

    def weight(self, node: onnx.NodeProto) -> None:
        name = node.input[1]
        if name in self._shared:  # tied layers: one tensor, quantised once
            node.input[1] = f"{name}_dq"
            return
        self._shared.add(name)
        axis = _output_axis(node)
        quantised, scale = per_channel(numpy_helper.to_array(self._weights[name]).astype(np.float32), axis)
        self._constant(f"{name}_int8", quantised)
        self._constant(f"{name}_scale", scale)
        self._constant(f"{name}_zeros", np.zeros(scale.shape, np.int8))
        self._before.setdefault("", []).append(
            helper.make_node(
                "DequantizeLinear",
                [f"{name}_int8", f"{name}_scale", f"{name}_zeros"],
                [f"{name}_dq"],
                name=f"{name}_dequantise",
                axis=axis,
            )
        )
        node.input[1] = f"{name}_dq"

    def finish(self) -> None:
        """Every pair goes right behind the node that makes its tensor; weights come first."""
        nodes = [*self._before.pop("", [])]
        for node in self.graph.node:
            nodes.append(node)
            for name in node.output:
                nodes += self._before.pop(name, [])
        assert not self._before, "a tensor that no node makes"
        del self.graph.node[:]
        self.graph.node.extend(nodes)

    def _constant(self, name: str, values: npt.NDArray[np.generic]) -> None:
        self.graph.initializer.append(numpy_helper.from_array(values, name))


def per_channel(weight: npt.NDArray[np.float32], axis: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """(int8 weight of the same shape, FP16 scale per channel along `axis`); an empty channel keeps a scale above 0."""
    others = tuple(n for n in range(weight.ndim) if n != axis)
    scale = np.maximum(np.abs(weight).max(axis=others) / LARGEST, SMALLEST_SCALE).astype(np.float16)
    shape = [-1 if n == axis else 1 for n in range(weight.ndim)]
    levels = np.rint(weight / scale.astype(np.float32).reshape(shape))
    return np.clip(levels, -LARGEST, LARGEST).astype(np.int8), scale


def _output_axis(node: onnx.NodeProto) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm" and any(a.name == "transB" and a.i == 1 for a in node.attribute):
        return 0
    return 1
