"""Networks of the registry with random weights, as `export` writes them, in the three precisions TensorRT may get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch

from export.graph import write_onnx
from export.precision.fp16 import to_fp16
from export.precision.int8_tensorrt import to_int8
from export.precision.ranges import activations
from export.source import Deployed, Original
from lits_deploy.contract import InputContract
from train.models.registry import build, network

PRECISIONS = ("fp32", "fp16", "int8")


def write_networks(folder: Path, name: str, *, width: int | None = None) -> dict[str, Path]:
    """`<name>.<precision>.onnx` for each precision; int8 with ranges of three random slices, all layers quantised."""
    info = network(name)
    torch.manual_seed(0)
    module = build(name, width=width).eval()
    contract = InputContract(window_hu=(-40.0, 160.0), crop=info.crop)
    original = Original(info=info, module=Deployed(module, contract, info.task).eval(), contract=contract, width=width)
    paths = {precision: folder / f"{name}.{precision}.onnx" for precision in PRECISIONS}
    write_onnx(original, paths["fp32"])
    model = onnx.load(paths["fp32"])
    slices = np.random.default_rng(0).integers(0, 256, (3, *contract.shape), dtype=np.uint8)
    onnx.save(to_fp16(model), paths["fp16"])
    onnx.save(to_int8(model, activations(model, slices), method="max", floating=()), paths["int8"])
    return paths
