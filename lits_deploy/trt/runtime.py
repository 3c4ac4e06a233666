"""TensorRT behind the seam: an engine on a stream of its own, pinned buffers, and a CUDA graph for each padded batch.

A batch is padded up to the next of a few sizes (`bucket_sizes`), because a graph is of one shape. For each size there
is one context with buffers of its own, made when it is first needed; all share one scratch memory, as they run one
after another. What is copied, when it is waited for and in what order things are given back is tested on a recording
GPU (`recording_cuda`); docs/tensorrt.md says on which hardware it has run.

Two batches are never in flight here: `infer` returns the answer. The pipeline decodes the next batch meanwhile.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import BundleError, DeviceError, DeviceOutOfMemory
from lits_deploy.runtime.base import Batch, Outputs, Runtime, RuntimeInfo
from lits_deploy.runtime.device import Device
from lits_deploy.trt.bindings import Bytes, Cuda, view
from lits_deploy.trt.engine import EngineContext, LoadedEngine, Tensor
from lits_deploy.trt.record import EngineRecord

_LEAST_SCRATCH = 256
"""Bytes. A network that says it needs none is given some: without any, TensorRT may refuse to run."""


def bucket_sizes(most: int) -> tuple[int, ...]:
    """Padded batch sizes: `most` and its halves down to 4, and 1. No batch is padded to more than twice its size.

    Halves, because a batch that did not fit into memory is halved too.
    """
    sizes = [most]
    while sizes[-1] > 4:
        sizes.append((sizes[-1] + 1) // 2)
    return tuple(sorted({1, *sizes}))


@dataclass
class _TensorBuffer:
    """One tensor's memory: on the device and, where the host needs it, pinned."""

    tensor: Tensor
    device: int
    pinned: int = 0
    host: npt.NDArray[Any] | None = None


@dataclass
class _Bucket:
    """Everything for one padded batch size. filled: slices of the last batch; the rows behind them are zero."""

    size: int
    context: EngineContext
    buffers: dict[str, _TensorBuffer] = field(default_factory=dict)
    graph: int | None = None
    filled: int = 0


class TensorRt(Runtime):
    """An engine on one GPU. Takes the engine over and closes it.

    wanted: outputs to return; all are computed, only these are copied to the host. record: the engine's, where it has
    one.
    """

    name: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        engine: LoadedEngine,
        cuda: Cuda,
        *,
        device: Device,
        precision: str,
        shape: tuple[int, int, int],
        wanted: tuple[str, ...],
        max_batch: int,
        record: EngineRecord | None = None,
    ) -> None:
        super().__init__(shape=shape, max_batch=min(max_batch, engine.max_batch))
        _check_tensors(engine, shape, wanted)
        self._engine, self._cuda, self._device, self._precision = engine, cuda, device, precision
        self._wanted, self._record = wanted, record
        self._sizes = bucket_sizes(self.max_batch)
        self._buckets: dict[int, _Bucket] = {}
        self._scratch, self._scratch_bytes = 0, 0
        self._graphs = engine.capture
        cuda.set_device(device.index)
        self._stream = cuda.create_stream()

    def _infer(self, batch: Batch) -> Outputs:
        self._cuda.set_device(self._device.index)  # the device belongs to the thread, and threads may differ
        bucket = self._bucket(next(size for size in self._sizes if size >= len(batch)))
        slices = next(buffer for buffer in bucket.buffers.values() if buffer.tensor.is_input)
        assert slices.host is not None
        slices.host[: len(batch)] = batch
        slices.host[len(batch) : bucket.filled] = 0  # what padding computes never depends on an earlier batch
        bucket.filled = len(batch)
        self._run(bucket)
        answers: dict[str, Any] = {}
        for name in self._wanted:
            host = bucket.buffers[name].host
            assert host is not None
            part = host[: len(batch)]  # the next batch overwrites it: a copy leaves here
            answers[name] = part.astype(np.float32) if part.dtype.kind == "f" else part.copy()
        return Outputs(**answers)

    def describe(self) -> RuntimeInfo:
        """The library is the provider; its version stands apart."""
        record, (title, _, version) = self._record, self._engine.library.rpartition(" ")
        return RuntimeInfo(
            name=self.name,
            version=version,
            device=str(self._device),
            precision=self._precision,
            providers=(title,),
            profile=None if record is None else str(record.key.profile),
            engine=None if record is None else record.sha256,
        )

    def close(self) -> None:
        """Give everything back, in the order in which one thing needs the other."""
        self._cuda.set_device(self._device.index)
        self._drop_buckets()
        self._cuda.destroy_stream(self._stream)
        self._engine.close()

    def _run(self, bucket: _Bucket) -> None:
        if bucket.graph is not None:
            self._cuda.launch(bucket.graph, self._stream)
        else:
            self._queue(bucket)
        self._cuda.wait(self._stream)

    def _queue(self, bucket: _Bucket) -> None:
        for buffer in bucket.buffers.values():
            if buffer.tensor.is_input:
                self._cuda.upload(buffer.device, buffer.pinned, bucket.size * buffer.tensor.slice_bytes, self._stream)
        bucket.context.enqueue(self._stream)
        for buffer in bucket.buffers.values():
            if buffer.host is not None and not buffer.tensor.is_input:
                self._cuda.download(buffer.pinned, buffer.device, bucket.size * buffer.tensor.slice_bytes, self._stream)

    def _bucket(self, size: int) -> _Bucket:
        if size not in self._buckets:
            bucket = _Bucket(size, self._engine.context())
            try:
                self._furnish(bucket)
                self._run(bucket)  # once outside of a graph: TensorRT settles what a new shape needs
                if self._graphs:
                    bucket.graph = self._captured(bucket)
            except BaseException:
                with suppress(DeviceError, DeviceOutOfMemory):  # what was queued may still use its memory
                    self._cuda.wait(self._stream)
                self._drop(bucket)
                self._drop_buckets()  # out of memory or broken: the next batch starts with all there is
                raise
            self._buckets[size] = bucket
        return self._buckets[size]

    def _furnish(self, bucket: _Bucket) -> None:
        for tensor in self._engine.tensors:
            size = bucket.size * tensor.slice_bytes
            buffer = bucket.buffers[tensor.name] = _TensorBuffer(tensor, self._cuda.allocate(size))
            if tensor.is_input or tensor.name in self._wanted:
                memory: Bytes
                buffer.pinned, memory = self._cuda.allocate_pinned(size)
                buffer.host = view(memory, tensor.dtype, (bucket.size, *tensor.shape))
                buffer.host[:] = 0
        needed = bucket.context.bind(bucket.size, {name: buffer.device for name, buffer in bucket.buffers.items()})
        needed = max(needed, _LEAST_SCRATCH)
        if needed > self._scratch_bytes:
            self._drop_buckets()  # their graphs hold the address of the old scratch memory
            self._scratch, self._scratch_bytes = self._cuda.allocate(needed), needed
        bucket.context.use_scratch(self._scratch, self._scratch_bytes)

    def _captured(self, bucket: _Bucket) -> int | None:
        """A graph of one run; None where this engine cannot be captured, and then none is tried again."""
        self._cuda.begin_capture(self._stream)
        try:
            self._queue(bucket)
        except (DeviceError, DeviceOutOfMemory):
            self._graphs = False
        try:
            graph = self._cuda.end_capture(self._stream)
        except DeviceError:
            self._graphs = False
            return None
        if not self._graphs:
            self._cuda.destroy_graph(graph)
            return None
        return graph

    def _drop_buckets(self) -> None:
        for size in tuple(self._buckets):
            self._drop(self._buckets.pop(size))
        if self._scratch:
            self._cuda.free(self._scratch)
            self._scratch, self._scratch_bytes = 0, 0

    def _drop(self, bucket: _Bucket) -> None:
        if bucket.graph is not None:
            self._cuda.destroy_graph(bucket.graph)
        bucket.context.close()
        for buffer in bucket.buffers.values():
            buffer.host = None
            if buffer.pinned:
                self._cuda.free_pinned(buffer.pinned)
            self._cuda.free(buffer.device)


def _check_tensors(engine: LoadedEngine, shape: tuple[int, int, int], wanted: tuple[str, ...]) -> None:
    """BundleError where the engine is not of such a network: then the ONNX file was not."""
    inputs = [tensor for tensor in engine.tensors if tensor.is_input]
    outputs = {tensor.name for tensor in engine.tensors if not tensor.is_input}
    if len(inputs) != 1 or inputs[0].shape != shape or np.dtype(inputs[0].dtype) != np.uint8:
        raise BundleError(f"The engine does not take uint8 slices of {list(shape)}.", fix="export again")
    if missing := set(wanted) - outputs:
        raise BundleError(f"The engine has no {', '.join(sorted(missing))}.", fix="export again")
