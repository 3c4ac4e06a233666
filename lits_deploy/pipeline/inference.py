"""The threads that own the network: batches in, some of its outputs out, while the pipeline's thread goes on.

The network is opened here too, next to discovery and the start of the workers; runtimes let go of Python's lock while
they compute. One thread serves each of the network's lanes: a batch then waits for no other, and a core that a decoder
takes for a moment holds up one lane, not all. Answers come in the order in which they are ready. Out of device memory
halves the number of slices in one call, for the rest of the run; with one slice it is an error that says so. Knows
nothing about files or ledgers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.decode.decoding import Batch
from lits_deploy.errors import DeviceOutOfMemory
from lits_deploy.resource_errors import no_room
from lits_deploy.runtime import Runtime, RuntimeInfo

Output = npt.NDArray[Any]


@dataclass(frozen=True)
class Opened:
    """The network is loaded; seconds: what that took; lanes: batches that it computes at once, each of up to `most`."""

    info: RuntimeInfo
    seconds: float
    lanes: int
    most: int


@dataclass(frozen=True)
class Inferred:
    """Outputs of a batch's N slices, in the order of its tags: logits float32 [N, 3], labels uint8 [N, S, S], or, of a
    pair, logits and counts int32 [N, 2]."""

    batch: Batch
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class Broken:
    """The network could not be opened or failed; nothing follows."""

    error: BaseException


class Portions:
    """Has a network answer any number of slices, in calls of what it has memory for.

    outputs: which are handed on, fields of `runtime.Outputs`. most: slices in one call; out of device memory halves it,
    `halved` times so far. Threads may share it.
    """

    def __init__(self, network: Runtime, outputs: tuple[str, ...]) -> None:
        self._network, self._outputs = network, outputs
        self.most, self.halved = network.max_batch, 0

    def infer(self, slices: npt.NDArray[np.uint8]) -> tuple[Output, ...]:
        """The outputs of uint8 [N, C, S, S], N > 0. Raises as `Runtime.infer`, and DeviceError where one slice is too
        many."""
        parts: list[tuple[Output, ...]] = []
        done = 0
        while done < len(slices):
            part = slices[done : done + self.most]
            try:
                answer = self._network.infer(part)
            except DeviceOutOfMemory as error:
                if len(part) == 1:
                    on_cpu = self._network.describe().device == "cpu"  # there `runtime.memory` may have set the bound
                    raise no_room(
                        "a single slice",
                        error,
                        fix="free the device of other programs, or choose a smaller --artifact or another --device"
                        + (", or, if you trust the bundle, a larger --memory-limit" if on_cpu else ""),
                    ) from error
                self.most = max(1, len(part) // 2)
                self.halved += 1
                continue
            found = tuple(getattr(answer, name) for name in self._outputs)
            if any(output is None for output in found):
                raise ValueError(f"the network returned no {' or no '.join(self._outputs)}")
            parts.append(found)
            done += len(part)
        return tuple(map(np.concatenate, zip(*parts, strict=True))) if len(parts) > 1 else parts[0]


class InferenceThreads:
    """Runs `open_network` and then every submitted batch; `wake` says that there is something to `take`.

    Use as a context manager, which starts it. opened: once the network is.
    outputs: which are handed on, fields of `runtime.Outputs`. close_network: False for a runtime that the caller
    goes on using.
    infer_s, wait_s: seconds in the network, and waiting for batches after the first, mean of the lanes.
    """

    def __init__(
        self,
        open_network: Callable[[], Runtime],
        wake: Callable[[], None],
        *,
        outputs: tuple[str, ...] = ("logits",),
        close_network: bool = True,
    ) -> None:
        self._open, self._wake, self._outputs, self._close_network = open_network, wake, outputs, close_network
        self._work: SimpleQueue[Batch | None] = SimpleQueue()
        self._events: SimpleQueue[Opened | Inferred | Broken] = SimpleQueue()
        self.opened: Opened | None = None
        self._infer_s = self._wait_s = 0.0  # of all lanes together
        self._lanes, self._adding = 1, threading.Lock()
        self._portions: Portions | None = None
        self._thread = threading.Thread(target=self._run, name="lits-deploy-inference")

    @property
    def most(self) -> int | None:
        """Slices in one call; None before the network is open."""
        return None if self._portions is None else self._portions.most

    @property
    def halved(self) -> int:
        """How often a lack of device memory has halved that."""
        return 0 if self._portions is None else self._portions.halved

    @property
    def infer_s(self) -> float:
        """Seconds in the network."""
        return self._infer_s / self._lanes

    @property
    def wait_s(self) -> float:
        """Seconds of waiting for a batch."""
        return self._wait_s / self._lanes

    def __enter__(self) -> InferenceThreads:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(wait=kind is not KeyboardInterrupt)  # a second Ctrl-C does not wait for one that may be loading

    def take(self) -> Iterator[Inferred]:
        """What has been answered. Raises what broke the network."""
        while not self._events.empty():
            event = self._events.get()
            if isinstance(event, Broken):
                raise event.error
            if isinstance(event, Opened):
                self.opened = event
            else:
                yield event

    def submit(self, batch: Batch) -> None:
        """Queue a batch; its pixels (uint8 [N, C, S, S]) must lie still until its answer."""
        self._work.put(batch)

    def cancel(self) -> list[Batch]:
        """Take back the batches that the network has not begun."""
        taken: list[Batch] = []
        while True:
            try:
                work = self._work.get_nowait()
            except Empty:
                return taken
            assert work is not None
            taken.append(work)

    def close(self, *, wait: bool) -> None:
        """End the threads after the batches they are at; `wait` until they have let go of the network."""
        self._work.put(None)
        if wait and self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            started = perf_counter()
            network = self._open()
            self._portions, self._lanes = Portions(network, self._outputs), network.lanes
            self._say(Opened(network.describe(), perf_counter() - started, network.lanes, network.max_batch))
            others = [
                threading.Thread(target=self._serve, args=(self._portions,), name=f"lits-deploy-inference-{lane}")
                for lane in range(1, network.lanes)
            ]
            try:
                for thread in others:
                    thread.start()
                self._serve(self._portions)
                for thread in others:
                    thread.join()
            finally:
                if self._close_network:
                    network.close()
        except BaseException as error:  # handed to the pipeline's thread, which raises it
            self._say(Broken(error))

    def _serve(self, portions: Portions) -> None:
        try:
            self._answer_all(portions)
        except BaseException as error:  # likewise
            self._say(Broken(error))

    def _answer_all(self, portions: Portions) -> None:
        first = True
        while True:
            asked = perf_counter()
            batch = self._work.get()
            if batch is None:
                self._work.put(None)  # for the next lane
                return
            begun = perf_counter()
            outputs = portions.infer(batch.pixels)
            with self._adding:
                self._infer_s += perf_counter() - begun
                self._wait_s += 0.0 if first else begun - asked
            first = False
            self._say(Inferred(batch, outputs))

    def _say(self, event: Opened | Inferred | Broken) -> None:
        self._events.put(event)
        self._wake()
