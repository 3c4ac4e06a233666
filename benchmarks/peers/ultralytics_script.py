"""Ultralytics' `predict` over our network: its reader, its batching, its results, ONNX Runtime underneath.

Its classifier hands float32 [N, 3, S, S] in 0…1 to an ONNX file and takes the first output for probabilities. So the
bundle's graph gets four nodes before it (first channel, × 255, round, to uint8) and the metadata that Ultralytics
reads; slices and answers stay those of the bundle. Its threads are ONNX Runtime's default, every core.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers.common import Probabilities, Slices, read_model, run_job
from lits_deploy.errors import UserError
from lits_deploy.machine import allowed_cores
from lits_deploy.model_file import ModelFile


def adapted(model: onnx.ModelProto, size: int, classes: Sequence[str]) -> onnx.ModelProto:
    """The graph with an input as Ultralytics gives it, and `probabilities` alone behind it."""
    graph = model.graph
    old, new = graph.input[0].name, "images"
    nodes = [
        helper.make_node("Slice", [new, "ul_start", "ul_end", "ul_axis"], ["ul_grey"], name="ul_grey"),
        helper.make_node("Mul", ["ul_grey", "ul_255"], ["ul_scaled"], name="ul_scaled"),
        helper.make_node("Round", ["ul_scaled"], ["ul_whole"], name="ul_whole"),
        helper.make_node("Cast", ["ul_whole"], [old], name="ul_cast", to=TensorProto.UINT8),
    ]
    constants = {"ul_start": 0, "ul_end": 1, "ul_axis": 1, "ul_255": 255.0}
    arrays = {
        name: np.array([value], np.float32 if name == "ul_255" else np.int64) for name, value in constants.items()
    }
    changed = helper.make_graph(
        [*nodes, *graph.node],
        graph.name,
        [helper.make_tensor_value_info(new, TensorProto.FLOAT, ["batch", 3, size, size]), *graph.input[1:]],
        [output for output in graph.output if output.name == "probabilities"],
        [*graph.initializer, *(numpy_helper.from_array(value, name) for name, value in arrays.items())],
    )
    graph.CopyFrom(changed)
    fields = {"task": "classify", "stride": "1", "batch": "1", "channels": "3", "imgsz": str([size, size])}
    helper.set_model_props(model, {**fields, "names": str(dict(enumerate(classes))), "args": str({"dynamic": True})})
    return model


class UltralyticsScript:
    """`YOLO(file).predict(folder, stream=True)`."""

    def __init__(self, model: ModelFile, *, size: int, threads: int, classes: Sequence[str]) -> None:
        if threads != allowed_cores():
            raise UserError("Ultralytics' ONNX Runtime takes every core.", fix="compare it without --threads")
        self.size = size
        self._folder = tempfile.TemporaryDirectory(prefix="lits-deploy-ultralytics-")
        self._file = Path(self._folder.name, "network.onnx")
        # the file that its user would have
        onnx.save(adapted(onnx.load_from_string(model.data), size, classes), self._file)

    def load(self) -> None:
        """The model object; the session is made at the first prediction."""
        from ultralytics import YOLO

        self._model: Any = YOLO(str(self._file), task="classify")

    def classify(self, slices: Slices) -> Probabilities:
        """A tensor in its own input format."""
        import torch

        pictures = torch.from_numpy(slices.astype(np.float32) / 255.0).expand(-1, 3, -1, -1).contiguous()
        return self._answers(self._predict(pictures, len(slices)))

    def folder(self, files: Sequence[str], batch: int, workers: int) -> Iterator[Probabilities]:
        """Its own reader over a list of files."""
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as listed:
            listed.write("\n".join(files))
            listed.flush()
            results = self._predict(listed.name, batch)
            while some := list(islice(results, batch)):  # it computes a batch and then hands out its results one by one
                yield self._answers(some)

    def _predict(self, source: Any, batch: int) -> Any:
        return self._model.predict(
            source, imgsz=self.size, batch=batch, device="cpu", stream=True, verbose=False, save=False
        )

    def _answers(self, results: Any) -> Probabilities:
        return np.stack([result.probs.data.numpy() for result in results]).astype(np.float32)


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """What the fresh process runs; settings go to a folder of its own, and nothing is sent or fetched."""
    with tempfile.TemporaryDirectory(prefix="lits-deploy-ultralytics-settings-") as settings:
        os.environ |= {"YOLO_CONFIG_DIR": settings, "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
        os.environ["YOLO_VERBOSE"] = "false"
        import ultralytics  # noqa: F401

        return run_job(spec, UltralyticsScript, read_model(spec), "size", "threads", "classes")
