"""TensorRT without TensorRT: a library by name, and engines that compute in numpy on a recording GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from lits_deploy.errors import DeviceOutOfMemory
from lits_deploy.trt.bindings import view
from lits_deploy.trt.engine import Tensor
from lits_deploy.trt.flavour import FLAVOURS, Library
from recording_cuda import RecordingCuda

Compute = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def fake_library(flavour: str = "tensorrt", version: str = "10.3.0.30") -> Library:
    """A library that has a name and a version, and nothing to call."""
    chosen = next(f for f in FLAVOURS if f.name == flavour)
    return Library(chosen, SimpleNamespace(__version__=version), object(), [], deque())


def classifier_tensors(shape: tuple[int, ...] = (1, 8, 8), dtype: Any = np.float32) -> tuple[Tensor, ...]:
    """One uint8 input, logits and probabilities."""
    return (
        Tensor(name="slices", dtype=np.uint8, shape=shape, is_input=True),
        Tensor(name="logits", dtype=dtype, shape=(3,), is_input=False),
        Tensor(name="probabilities", dtype=dtype, shape=(3,), is_input=False),
    )


@dataclass
class FakeEngine:
    """An engine whose contexts queue `compute` on the recording GPU.

    scratch_per_slice: bytes of scratch memory; memory_for: a context for more slices fails to run. events: closings.
    """

    cuda: RecordingCuda
    compute: Compute
    tensors: tuple[Tensor, ...] = field(default_factory=classifier_tensors)
    max_batch: int = 64
    library: str = "TensorRT 10.3.0.30"
    capture: bool = True
    scratch_per_slice: int = 100
    memory_for: int | None = None
    keep: Callable[[bytes], None] = lambda _: None
    compiled: bytes = b""
    contexts: list[FakeContext] = field(default_factory=list)
    closed: bool = False

    def context(self) -> FakeContext:
        self.contexts.append(FakeContext(self))
        return self.contexts[-1]

    def close(self) -> None:
        assert all(context.closed for context in self.contexts), "an engine was closed before its contexts"
        self.keep(self.compiled)
        self.closed = True


@dataclass
class FakeContext:
    engine: FakeEngine
    batch: int = 0
    scratch: tuple[int, int] = (0, 0)
    runs: int = 0
    closed: bool = False

    def bind(self, batch: int, addresses: Mapping[str, int]) -> int:
        self.batch, self.addresses = batch, dict(addresses)
        return batch * self.engine.scratch_per_slice

    def use_scratch(self, address: int, size: int) -> None:
        assert size >= self.batch * self.engine.scratch_per_slice, "scratch memory is too small"
        self.scratch = (address, size)

    def enqueue(self, stream: int) -> None:
        assert not self.closed
        if self.engine.memory_for is not None and self.batch > self.engine.memory_for:
            raise DeviceOutOfMemory(f"TensorRT could not run {self.batch} slices")
        cuda = self.engine.cuda
        cuda.calls.append(("execute", stream, self.batch))
        cuda.enqueue(stream, self._kernels)

    def close(self) -> None:
        self.closed = True

    def _kernels(self) -> None:
        self.runs += 1
        cuda = self.engine.cuda
        cuda.at(self.scratch[0])[:] = 0xEE  # illegal after it was freed
        slices = next(tensor for tensor in self.engine.tensors if tensor.is_input)
        answers = self.engine.compute(
            view(cuda.at(self.addresses[slices.name]), np.uint8, (self.batch, *slices.shape)).copy()
        )
        for tensor in self.engine.tensors:
            if not tensor.is_input:
                memory = cuda.at(self.addresses[tensor.name])
                view(memory, tensor.dtype, (self.batch, *tensor.shape))[:] = answers[tensor.name]
