"""A runtime without a network, for tests of everything around it: its answer depends only on each slice's pixels."""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from lits_deploy.errors import DeviceOutOfMemory
from lits_deploy.pipeline.decide import softmax
from lits_deploy.runtime.base import Batch, Outputs, Runtime, RuntimeInfo


class FakeRuntime(Runtime):
    """Logits from the mean grey value; optionally slow, or out of memory above a batch size."""

    name: ClassVar[str] = "fake"

    def __init__(
        self,
        *,
        shape: tuple[int, int, int] = (1, 256, 256),
        max_batch: int = 32,
        seconds_per_batch: float = 0.0,
        memory_for: int | None = None,
        lanes: int = 1,
    ) -> None:
        super().__init__(shape=shape, max_batch=max_batch, lanes=lanes)
        self.seconds_per_batch, self.memory_for = seconds_per_batch, memory_for
        self.batches: list[int] = []

    def _infer(self, batch: Batch) -> Outputs:
        if self.memory_for is not None and len(batch) > self.memory_for:
            raise DeviceOutOfMemory(f"the fake device holds {self.memory_for} slices")
        self.batches.append(len(batch))
        time.sleep(self.seconds_per_batch)
        grey = batch.reshape(len(batch), -1).mean(axis=1, dtype=np.float64) / 255.0
        logits = np.stack([1.0 - grey, grey, grey * grey], axis=1).astype(np.float32) * 4.0
        return Outputs(logits=logits, probabilities=softmax(logits))

    def describe(self) -> RuntimeInfo:
        """Always the same."""
        return RuntimeInfo(name=self.name, version="0", device="cpu", precision="fp32", providers=("fake",))
