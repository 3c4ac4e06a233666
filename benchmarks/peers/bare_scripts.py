"""Bare scripts around the runtimes that we use, too: their own calls, decoding threads two batches ahead, one CSV.

    onnxruntime   one session; on a GPU with I/O binding, as its documentation advises, so that only slices and answers
                  are copied
    latency       OpenVINO, one request at a time
    throughput    OpenVINO, a queue of requests

Their model-only job is the ceiling for a pipeline on that runtime. OpenVINO computes FP32 files in FP32: left alone, it
takes bfloat16 where the processor has it, which is another network (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.peers.common import Probabilities, Slices, read_ahead, read_model, run_job
from lits_deploy.model_file import ModelFile
from lits_deploy.runtime import signal_stack
from lits_deploy.runtime.onnxruntime_ import import_onnxruntime
from lits_deploy.runtime.openvino_ import import_openvino

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


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """What the fresh process runs."""
    if spec["mode"] == "onnxruntime":
        return run_job(spec, OnnxRuntimeScript, read_model(spec), "size", "threads", "device")
    return run_job(spec, OpenVinoScript, read_model(spec), "size", "threads", "mode")
