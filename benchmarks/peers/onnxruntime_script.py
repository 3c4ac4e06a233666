"""A bare ONNX Runtime script: one session, decoding threads that run two batches ahead, one CSV.

Its model-only job is the ceiling for a pipeline on that runtime. On a GPU it uses I/O binding, as its documentation
advises, so that only slices and answers are copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.peers.common import Probabilities, Slices, child_of, of_spec, read_ahead, read_model
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime.onnxruntime_ import import_onnxruntime

OUTPUT = "probabilities"


class OnnxRuntimeScript:
    """An ONNX file in a session."""

    def __init__(self, model: ModelFile, *, size: int, threads: int, device: str = "cpu") -> None:
        self.model, self.size, self.threads, self.cuda = model, size, threads, device != "cpu"
        self._session: Any = None
        self._ort = import_onnxruntime()

    def load(self) -> None:
        """Build the session."""
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        providers = ["CUDAExecutionProvider"] if self.cuda else ["CPUExecutionProvider"]
        if self.cuda and hasattr(self._ort, "preload_dlls"):
            self._ort.preload_dlls()
        self._session = self._ort.InferenceSession(self.model.data, options, providers=providers)
        self._input = self._session.get_inputs()[0].name

    def classify(self, slices: Slices) -> Probabilities:
        """`session.run`, or with I/O binding on a GPU."""
        if not self.cuda:
            (values,) = self._session.run([OUTPUT], {self._input: slices})
            answer: Probabilities = values
            return answer
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, np.ascontiguousarray(slices))
        binding.bind_output(OUTPUT)
        self._session.run_with_iobinding(binding)
        (values,) = binding.copy_outputs_to_cpu()
        return np.asarray(values, dtype=np.float32)

    def folder(self, files: Sequence[str], batch: int, workers: int) -> Iterator[Probabilities]:
        """Threads decode, this one computes."""
        for slices in read_ahead(files, self.size, batch, workers):
            yield self.classify(slices)


def child(text: str) -> None:
    """What the fresh process runs."""
    child_of(text, lambda spec: OnnxRuntimeScript(read_model(spec), **of_spec(spec, "size", "threads", "device")))
