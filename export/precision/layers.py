"""Which nodes of an exported graph are what (its two ends, its layers with weights, its residual branches), and less
of it.

Works on graphs that `export.graph` writes: nodes in order, weights as initialisers, no subgraphs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with a weight that can be quantised."""


def weighted(model: onnx.ModelProto) -> list[int]:
    """Indices of the nodes that have a weight, in order."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        index
        for index, node in enumerate(model.graph.node)
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in weights
    ]


def heads(model: onnx.ModelProto) -> list[int]:
    """Indices of the layers that no other layer with a weight follows: the last one; of averaged networks, each's."""
    layers, found = weighted(model), []
    for n, index in enumerate(layers, start=1):
        if not after(model, [index]) & set(layers[n:]):
            found.append(index)
    return found


def after(model: onnx.ModelProto, layers: list[int]) -> set[int]:
    """Indices of the nodes that these feed, directly or not."""
    nodes, found = list(model.graph.node), set()
    reached = {name for index in layers for name in nodes[index].output}
    for index in range(min(layers) + 1, len(nodes)):
        if reached & set(nodes[index].input):
            found.add(index)
            reached |= set(nodes[index].output)
    return found


def ends(model: onnx.ModelProto) -> set[int]:
    """Indices of the nodes before the first and after the last layers with a weight: they stay FP32.

    Before: all that the first layer's input is made of (cast, crop, scale). After: all that nothing with a weight
    follows and that the last layers feed (softmax, argmax, the mean of several networks).
    """
    nodes = list(model.graph.node)
    layers = weighted(model)
    maker = {name: index for index, node in enumerate(nodes) for name in node.output}
    before: set[int] = set()
    pending = list(nodes[layers[0]].input)
    while pending:
        index = maker.get(pending.pop())
        if index is not None and index not in before:
            before.add(index)
            pending += list(nodes[index].input)
    return before | after(model, heads(model))


def residual_inputs(model: onnx.ModelProto) -> list[tuple[int, int]]:
    """(node, input) of every addition's branch that comes from elsewhere than the newest layer: the shortcut.

    Quantised, it lets a runtime fold the addition into the layer whose output it is added to.
    """
    maker = {name: index for index, node in enumerate(model.graph.node) for name in node.output}
    found = []
    for index, node in enumerate(model.graph.node):
        if node.op_type == "Add" and all(name in maker for name in node.input):
            older = min(range(2), key=lambda n: maker[node.input[n]])
            found.append((index, older))
    return found


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor that a node makes or a caller gives, as far as ONNX infers it."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output, *inferred.input)}


def without_cam(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph without the map and all that only it needs; the same graph where it has none."""
    pruned = onnx.ModelProto()
    pruned.CopyFrom(model)
    graph = pruned.graph
    _keep(graph.output, lambda value: value.name != "cam")
    needed = {value.name for value in graph.output}

    def is_needed(node: onnx.NodeProto) -> bool:
        if not needed & set(node.output):
            return False
        needed.update(node.input)
        return True

    _keep(graph.node, is_needed)  # from the last to the first: a node's readers have been seen
    _keep(graph.initializer, lambda tensor: tensor.name in needed)
    _keep(graph.value_info, lambda value: value.name in needed)
    return pruned


def drop_unused_weights(model: onnx.ModelProto) -> None:
    """Remove initialisers that no node reads any more, in place."""
    used = {name for node in model.graph.node for name in node.input}
    _keep(model.graph.initializer, lambda tensor: tensor.name in used)


def _keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    """Remove from a repeated field, from its end on, what is not wanted."""
    for index in reversed(range(len(field))):
        if not wanted(field[index]):
            del field[index]
