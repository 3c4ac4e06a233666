"""OpenVINO scripts in the two ways of its documentation: `latency`, one request at a time, and `throughput`, a queue.

FP32 files are computed in FP32: left alone, OpenVINO takes bfloat16 where the processor has it, which is another
network (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.peers.common import Probabilities, Slices, child_of, of_spec, read_ahead, read_model
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import signal_stack
from lits_deploy.runtime.openvino_ import import_openvino

OUTPUT = "probabilities"


class OpenVinoScript:
    """An ONNX file compiled for the CPU with a performance hint: `latency` or `throughput`."""

    def __init__(self, model: ModelFile, *, size: int, threads: int, mode: str) -> None:
        self.model, self.size, self.threads, self.mode = model, size, threads, mode
        self._ov = import_openvino()
        self._network: Any = None
        if mode == "throughput":  # single calls are not how this mode is fast
            self.classify_all = self._all

    def load(self) -> None:
        """Compile the network."""
        options = {
            "PERFORMANCE_HINT": self.mode.upper(),
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        core = self._ov.Core()
        with signal_stack.kept():
            self._network = core.compile_model(core.read_model(self.model.data), "CPU", options)
        self._request = self._network.create_infer_request()

    def classify(self, slices: Slices) -> Probabilities:
        """One request, to its end."""
        self._request.infer({0: self._ov.Tensor(np.ascontiguousarray(slices), shared_memory=True)})
        values: Probabilities = self._request.get_tensor(OUTPUT).data.copy()
        return values

    def folder(self, files: Sequence[str], batch: int, workers: int) -> Iterator[Probabilities]:
        """Threads decode; requests one after another, or as many at once as the hint asked for."""
        pieces = read_ahead(files, self.size, batch, workers)
        if self.mode == "latency":
            for slices in pieces:
                yield self.classify(slices)
        else:
            yield self._queued(pieces, len(files))

    def _all(self, slices: Slices, batch: int) -> Probabilities:
        return self._queued((slices[start : start + batch] for start in range(0, len(slices), batch)), len(slices))

    def _queued(self, pieces: Iterator[Slices], count: int) -> Probabilities:
        """Through an asynchronous queue; answers land where their slices stood."""
        values = np.empty((count, 3), np.float32)

        def done(request: Any, where: tuple[int, Slices]) -> None:
            start, slices = where  # the slices are kept alive until here: the request reads them where they lie
            values[start : start + len(slices)] = request.get_tensor(OUTPUT).data

        queue = self._ov.AsyncInferQueue(self._network)  # as many requests as is optimal, by the hint
        queue.set_callback(done)
        start = 0
        for piece in pieces:
            slices = np.ascontiguousarray(piece)
            queue.start_async({0: self._ov.Tensor(slices, shared_memory=True)}, (start, slices))
            start += len(slices)
        queue.wait_all()
        return values


def child(text: str) -> None:
    """What the fresh process runs."""
    child_of(text, lambda spec: OpenVinoScript(read_model(spec), **of_spec(spec, "size", "threads", "mode")))
