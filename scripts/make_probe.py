"""Writes lits_deploy/doctor/probe.onnx: the ten-kilobyte network that `lits-deploy doctor` runs (needs `onnx`).

    python scripts/make_probe.py

It is what `export` makes, in small: uint8 [N, 1, 32, 32] → cast → centre crop 28 → scale → two convolutions → mean →
matrix → `logits`, softmax → `probabilities`. Prints the hash to put into `lits_deploy/doctor/network.py`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from lits_deploy.doctor import network
from lits_deploy.files import sha256_bytes, write_bytes

OPSET, IR_VERSION = 20, 9  # the opset as `export` has it
CROP, SCALE = 28, np.float32(1.0 / 255.0)


def spread(shape: tuple[int, ...], *, seed: int, reach: float) -> npt.NDArray[np.float32]:
    """Numbers in −reach…reach that look random."""
    values = network.scattered(np.arange(math.prod(shape)), seed=seed)
    return ((values - 0.5) * 2 * reach).astype(np.float32).reshape(shape)


def probe() -> onnx.ModelProto:
    """The network of `lits_deploy.doctor.network` as ONNX."""
    start, end = (network.SIZE - CROP) // 2, (network.SIZE + CROP) // 2
    constants = {
        "start": np.array([start, start], dtype=np.int64),
        "end": np.array([end, end], dtype=np.int64),
        "axes": np.array([2, 3], dtype=np.int64),
        "scale": np.array(SCALE, dtype=np.float32),
        "conv1": spread((8, 1, 3, 3), seed=1, reach=0.8),
        "bias1": spread((8,), seed=2, reach=0.2),
        "conv2": spread((16, 8, 3, 3), seed=3, reach=0.5),
        "bias2": spread((16,), seed=4, reach=0.2),
        "gemm": spread((3, 16), seed=23, reach=12.0),
        "bias3": np.array([5.43, 0.27, -5.7], dtype=np.float32),
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
