"""A bundle around a U-Net of two thresholds, as a real graph: uint8 [N, 1, S, S] → `labels` uint8 [N, S, S]."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lits_deploy.bundle import Bundle
from lits_deploy.files import sha256_file
from tiny_bundle import make_tiny_bundle, with_manifest
from worlds import LESION_HU, LIVER_HU, WINDOW


def make_tiny_unet(folder: Path, *, size: int) -> Bundle:
    """Write the bundle and open it; it gives the labels that `worlds.Thresholds` gives."""
    bundle = make_tiny_bundle(folder, task="segment", size=size, crop=None, window_hu=WINDOW)
    limits = [(value - WINDOW[0]) * 255 / (WINDOW[1] - WINDOW[0]) for value in (LIVER_HU, LESION_HU)]
    nodes = [
        helper.make_node("Cast", ["slices"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["float", "channel"], ["grey"]),
        helper.make_node("Greater", ["grey", "low"], ["is_liver"]),
        helper.make_node("Greater", ["grey", "high"], ["is_lesion"]),
        helper.make_node("Cast", ["is_liver"], ["liver"], to=TensorProto.INT32),
        helper.make_node("Cast", ["is_lesion"], ["lesion"], to=TensorProto.INT32),
        helper.make_node("Add", ["liver", "lesion"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["labels"], to=TensorProto.UINT8),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "channel"),
        numpy_helper.from_array(np.array(limits[0], np.float32), "low"),
        numpy_helper.from_array(np.array(limits[1], np.float32), "high"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("slices", TensorProto.UINT8, ["N", 1, size, size])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", size, size])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    path = folder / "model.onnx"
    onnx.save(model, path)
    (artifact,) = bundle.manifest.artifacts
    changed = dataclasses.replace(artifact, sha256=sha256_file(path), bytes=path.stat().st_size, outputs=("labels",))
    return with_manifest(bundle, artifacts=(changed,))
