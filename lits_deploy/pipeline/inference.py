"""The one thread that owns the network: batches in, one of its outputs out, while the pipeline's thread goes on.

The network is opened here too, next to discovery and the start of the workers; ONNX Runtime lets go of Python's lock
while it computes. Out of device memory halves the number of slices in one call, for the rest of the run; with one slice
it is an error that says so. Knows nothing about files or ledgers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import DeviceError, DeviceOutOfMemory
from lits_deploy.pipeline.slots import Batch
from lits_deploy.pipeline.workers import Tag
from lits_deploy.runtime import Runtime, RuntimeInfo

Output = npt.NDArray[Any]


@dataclass(frozen=True)
class Opened:
    """The network is loaded; seconds: what that took."""

    info: RuntimeInfo
    seconds: float


@dataclass(frozen=True)
class Inferred:
    """An output of a batch's N slices, in the order of its tags: logits float32 [N, 3] or labels uint8 [N, S, S]."""

    batch: Batch[Tag]
    output: Output


@dataclass(frozen=True)
class Broken:
    """The network could not be opened or failed; nothing follows."""

    error: BaseException


class InferenceThread:
    """Runs `open_network` and then every submitted batch; `events` holds what happened, `wake` says that it did.

    output: which one is handed on, a field of `runtime.Outputs`. close_network: False for a runtime that the caller
    goes on using.
    infer_s, wait_s: seconds in the network, and waiting for batches after the first. most: slices in one call.
    """

    def __init__(
        self,
        open_network: Callable[[], Runtime],
        wake: Callable[[], None],
        *,
        output: str = "logits",
        close_network: bool = True,
    ) -> None:
        self._open, self._wake, self._output, self._close_network = open_network, wake, output, close_network
        self._work: SimpleQueue[tuple[Batch[Tag], npt.NDArray[np.uint8]] | None] = SimpleQueue()
        self.events: SimpleQueue[Opened | Inferred | Broken] = SimpleQueue()
        self.infer_s = self.wait_s = 0.0
        self.most: int | None = None
        self.halved = 0
        self._thread = threading.Thread(target=self._run, name="lits-deploy-inference", daemon=True)

    def start(self) -> None:
        """Start opening the network."""
        self._thread.start()

    def submit(self, batch: Batch[Tag], slices: npt.NDArray[np.uint8]) -> None:
        """Queue a batch; `slices` (uint8 [N, C, S, S]) must lie still until its answer."""
        self._work.put((batch, slices))

    def cancel(self) -> list[Batch[Tag]]:
        """Take back the batches that the network has not begun."""
        taken: list[Batch[Tag]] = []
        while True:
            try:
                work = self._work.get_nowait()
            except Empty:
                return taken
            assert work is not None
            taken.append(work[0])

    def close(self, *, wait: bool) -> None:
        """End the thread after the batch it is at; `wait` until it has let go of the network."""
        self._work.put(None)
        if wait and self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            started = perf_counter()
            network = self._open()
            self.most = network.max_batch
            self._say(Opened(network.describe(), perf_counter() - started))
            try:
                self._serve(network)
            finally:
                if self._close_network:
                    network.close()
        except BaseException as error:  # handed to the pipeline's thread, which raises it
            self._say(Broken(error))

    def _serve(self, network: Runtime) -> None:
        first = True
        while True:
            asked = perf_counter()
            work = self._work.get()
            if work is None:
                return
            begun = perf_counter()
            self.wait_s += 0.0 if first else begun - asked
            first = False
            batch, slices = work
            output = self._infer(network, slices)
            self.infer_s += perf_counter() - begun
            self._say(Inferred(batch, output))

    def _infer(self, network: Runtime, slices: npt.NDArray[np.uint8]) -> Output:
        parts: list[Output] = []
        done = 0
        while done < len(slices):
            assert self.most is not None
            part = slices[done : done + self.most]
            try:
                output: Output | None = getattr(network.infer(part), self._output)
            except DeviceOutOfMemory as error:
                if len(part) == 1:
                    raise DeviceError(
                        f"The device has no memory left for a single slice ({error}).",
                        fix="free the device of other programs, or choose a smaller --artifact or another --device",
                    ) from error
                self.most = max(1, len(part) // 2)
                self.halved += 1
                continue
            if output is None:
                raise ValueError(f"the network returned no {self._output}")
            parts.append(output)
            done += len(part)
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _say(self, event: Opened | Inferred | Broken) -> None:
        self.events.put(event)
        self._wake()
