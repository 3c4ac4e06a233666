"""Work and traffic of a network per slice, counted from its ONNX graph: multiply-adds × 2, weights, activations.

Counted are convolutions and matrix products; everything else is a few per cent of a ResNet's arithmetic. Needs onnx.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper, numpy_helper

_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.INT8: 1, TensorProto.UINT8: 1, TensorProto.INT32: 4,
    TensorProto.INT64: 8, TensorProto.BOOL: 1,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Work:
    """flops: of one slice; weight_bytes: read once a call; activation_bytes: of all tensors in between, one slice."""

    flops: int
    weight_bytes: int
    activation_bytes: int


def count(model: onnx.ModelProto) -> Work:
    """Work of a graph whose input is [N, …], for N = 1."""
    graph = _with_shapes(model).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    shapes: dict[str, list[int]] = {name: list(tensor.dims) for name, tensor in constants.items()}
    kinds: dict[str, int] = {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        tensor = value.type.tensor_type
        shapes[value.name] = [dim.dim_value or 1 for dim in tensor.shape.dim]
        kinds[value.name] = tensor.elem_type
    flops = activations = 0
    for node in graph.node:
        output = node.output[0]
        if node.op_type == "Conv":
            weight = _shape(node.input[1], shapes, graph)
            flops += 2 * math.prod(shapes[output]) * math.prod(weight[1:])
        elif node.op_type in ("Gemm", "MatMul"):
            inner = _shape(node.input[0], shapes, graph)[-1]
            flops += 2 * math.prod(shapes[output]) * inner
        activations += sum(
            math.prod(shapes[name]) * _BYTES.get(kinds.get(name, 0), 4)
            for name in node.output
            if name in shapes and name not in constants
        )
    weights = sum(numpy_helper.to_array(tensor).nbytes for tensor in graph.initializer)
    return Work(flops=flops, weight_bytes=weights, activation_bytes=activations)


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in copy.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in copy.graph.output:
        shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape))
    return onnx.shape_inference.infer_shapes(copy, data_prop=True)


def _shape(name: str, shapes: dict[str, list[int]], graph: onnx.GraphProto) -> list[int]:
    """Of a tensor; a quantised weight has it behind its DequantizeLinear."""
    if name in shapes:
        return shapes[name]
    producer = next(node for node in graph.node if name in node.output)
    return _shape(producer.input[0], shapes, graph)
