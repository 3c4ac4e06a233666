"""Writes lits_deploy/doctor/probe.onnx: the ten-kilobyte network that `lits-deploy doctor` runs (needs `onnx`).

    python scripts/make_probe.py

Opset 20 as `export` has it; the operators are those of an exported classifier. Prints the hash to put into
`lits_deploy/doctor/network.py`.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lits_deploy.doctor import network
from lits_deploy.files import sha256_bytes, write_bytes

OPSET, IR_VERSION = 20, 9


def probe() -> onnx.ModelProto:
    """The network of `lits_deploy.doctor.network` as ONNX."""
    start, end = (network.SIZE - network.CROP) // 2, (network.SIZE + network.CROP) // 2
    constants = {
        "start": np.array([start, start], dtype=np.int64),
        "end": np.array([end, end], dtype=np.int64),
        "axes": np.array([2, 3], dtype=np.int64),
        "scale": np.array(network.SCALE, dtype=np.float32),
        **network.weights(),
    }
    nodes = [
        helper.make_node("Cast", ["slices"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["float", "start", "end", "axes"], ["cropped"]),
        helper.make_node("Mul", ["cropped", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "conv1", "bias1"], ["c1"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "conv2", "bias2"], ["c2"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"], axis=1),
        helper.make_node("Gemm", ["features", "gemm", "bias3"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "probe",
        [helper.make_tensor_value_info("slices", TensorProto.UINT8, ["N", *network.SHAPE])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("logits", "probabilities")],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(
        graph, producer_name="lits-deploy", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    data = probe().SerializeToString(deterministic=True)
    write_bytes(network.MODEL, data)
    print(f"{network.MODEL.name}: {len(data):,} bytes")
    print(f'MODEL_SHA256 = "{sha256_bytes(data)}"')


if __name__ == "__main__":
    main()
