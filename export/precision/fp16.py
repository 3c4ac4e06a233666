"""FP32 graph → strongly typed FP16 graph: half precision between the first and the last layer, FP32 at both ends.

The nodes that turn uint8 pixels into 0…1 stay FP32, and so do softmax and argmax: `logits` and `probabilities` leave
the graph as FP32. Nothing is clamped: values that FP16 cannot hold are found by `overflow`, on weights and on real
activations. CPU runtimes compute such a file in FP32 and would not show it.

Works on graphs that `export.graph` writes: one domain, weights as initialisers, no subgraphs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.precision.layers import drop_unused_weights, ends, types
from export.precision.ranges import Activation
from lits_deploy.errors import UserError

LARGEST = float(np.finfo(np.float16).max)
"""65504."""

HEADROOM = 4.0
"""Calibration slices do not hold the largest value that will ever come."""


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an FP32 model, computed in FP16 between its ends. Raises UserError where a weight does not fit."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    keep, type_of = ends(model), types(model)
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    produced_half = {
        name
        for index, node in enumerate(graph.node)
        if index not in keep
        for name in node.output
        if type_of.get(name) == TensorProto.FLOAT
    }
    results = {value.name for value in graph.output}
    nodes: list[onnx.NodeProto] = []
    cast: dict[tuple[str, int], str] = {}

    def as_type(name: str, to: int) -> str:
        """The tensor in the other precision: one Cast for all that want it."""
        if (name, to) not in cast:
            cast[name, to] = f"{name}_{'fp16' if to == TensorProto.FLOAT16 else 'fp32'}"
            source = f"{name}_half" if name in produced_half and name in results else name
            nodes.append(helper.make_node("Cast", [source], [cast[name, to]], name=f"cast_{cast[name, to]}", to=to))
        return cast[name, to]

    for index, node in enumerate(graph.node):
        for n, name in enumerate(node.input):
            if index in keep and name in produced_half:
                node.input[n] = name if name in results else as_type(name, TensorProto.FLOAT)
            elif index not in keep and name in weights:
                node.input[n] = _half_weight(graph, weights[name])
            elif index not in keep and name in produced_half and name in results:
                node.input[n] = f"{name}_half"
            elif index not in keep and name not in produced_half and type_of.get(name) == TensorProto.FLOAT:
                node.input[n] = as_type(name, TensorProto.FLOAT16)
        nodes.append(node)
        for n, name in enumerate(node.output if index not in keep else ()):
            if name in produced_half and name in results:  # the graph's outputs stay FP32, under their own name
                node.output[n] = f"{name}_half"
                nodes.append(
                    helper.make_node("Cast", [f"{name}_half"], [name], name=f"cast_{name}", to=TensorProto.FLOAT)
                )
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    drop_unused_weights(half)
    onnx.checker.check_model(half, full_check=True)
    return half


def overflow(model: onnx.ModelProto, seen: Mapping[str, Activation]) -> dict[str, object]:
    """The largest |activation| among the tensors that FP16 would hold, the tensor, and the limit (65504 / 4).

    seen: what `ranges.activations` found on the FP32 graph. `largest` is None where a value was not finite.
    """
    keep = ends(model)
    inside = [name for index, node in enumerate(model.graph.node) if index not in keep for name in node.output]
    watched = {name: seen[name].largest for name in inside if name in seen}
    name = max(watched, key=lambda key: watched[key])
    largest = watched[name]
    return {
        "largest": largest if np.isfinite(largest) else None,
        "tensor": name,
        "limit": LARGEST / HEADROOM,
        "passed": bool(largest <= LARGEST / HEADROOM),
    }


def _half_weight(graph: onnx.GraphProto, tensor: onnx.TensorProto) -> str:
    name = f"{tensor.name}_fp16"
    if not any(other.name == name for other in graph.initializer):
        values = numpy_helper.to_array(tensor)
        if not np.abs(values).max(initial=0.0) <= LARGEST:
            raise UserError(f"The weight {tensor.name} does not fit into FP16.", fix="leave --fp16 and --int8 out")
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), name))
    return name
