"""Which nodes of an exported graph are what: its two ends, its layers with weights, its residual branches.

Works on graphs that `export.graph` writes: nodes in order, weights as initialisers, no subgraphs.
"""

from __future__ import annotations

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


def ends(model: onnx.ModelProto) -> set[int]:
    """Indices of the nodes before the first and after the last layer with a weight: they stay FP32.

    Before: all that the first layer's input is made of (cast, crop, scale). After: all that nothing with a weight
    follows and that the last layer feeds (softmax, argmax).
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
    after: set[int] = set()
    reached = set(nodes[layers[-1]].output)
    for index in range(layers[-1] + 1, len(nodes)):
        if reached & set(nodes[index].input):
            after.add(index)
            reached |= set(nodes[index].output)
    return before | after


def residual_inputs(model: onnx.ModelProto) -> list[tuple[int, int]]:
    """(node, input) of every addition's branch that comes from elsewhere than the newest layer: the shortcut.

    Quantised, it lets a runtime fold the addition into the layer whose output it is added to.
    """
    maker = {name: index for index, node in enumerate(model.graph.node) for name in node.output}
    found = []
    for index, node in enumerate(model.graph.node):
        if node.op_type == "Add" and all(name in maker for name in node.input):
            older = min(range(2), key=lambda place: maker[node.input[place]])
            found.append((index, older))
    return found
