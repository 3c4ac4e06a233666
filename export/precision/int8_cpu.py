"""INT8 for CPUs: Q/DQ as ONNX Runtime and OpenVINO execute them in integers.

Activations are unsigned with a zero point (after ReLU the whole range is used), weights are signed, symmetric, per
output channel, biases INT32. Weights keep 7 bits: processors without VNNI add pairs of products in 16 bits, and 255 ×
64 × 2 still fits, so one file is right on every CPU. `onnxruntime.quantization` places the Q/DQ; the ranges are ours
(`export.precision.ranges`), because its own calibration keeps every activation of every slice in memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from export.precision.layers import after, heads
from export.precision.ranges import Activation, Method
from lits_deploy.errors import MissingExtra

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "MaxPool", "Relu", "Concat")
"""What is computed in integers, and what lies between: a Q/DQ pair less."""


def to_int8(model: onnx.ModelProto, seen: Mapping[str, Activation], method: Method = "max") -> onnx.ModelProto:
    """An FP32 model with INT8 layers; the last one, whose few numbers decide, stays FP32, and so does what follows it.

    seen: ranges of the model's activations; method: where they are clipped. Raises MissingExtra without onnxruntime's
    quantiser.
    """
    try:
        from onnxruntime.quantization import CalibrationMethod, QuantType
        from onnxruntime.quantization.calibrate import TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    except ImportError as error:
        raise MissingExtra("onnxruntime's quantiser", "export") from error
    last = heads(model)
    floating = [model.graph.node[index].name for index in sorted({*last, *after(model, last)})]
    ranges = {name: tuple(np.float32(edge) for edge in values.clipped(method)) for name, values in seen.items()}
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        per_channel=True,
        reduce_range=True,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=[],
        nodes_to_exclude=floating,
        op_types_to_quantize=list(OPERATORS),
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantised: onnx.ModelProto = quantizer.model.model
    del quantised.graph.value_info[:]
    quantised.producer_name, quantised.producer_version = "lits-deploy", ""
    onnx.checker.check_model(quantised, full_check=True)
    return quantised
