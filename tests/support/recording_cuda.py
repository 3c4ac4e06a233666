"""A GPU in memory that writes down what it is told: for tests of everything around CUDA.

Work that is queued on a stream happens only when somebody waits for it. So code that reads a result too early reads
what was there before, and a test sees it. Freed memory is filled with 0xDD and may not be used again.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from lits_deploy.errors import DeviceError, DeviceOutOfMemory
from lits_deploy.trt.bindings import Bytes, GpuIdentity

Work = Callable[[], None]

FAKE_GPU = GpuIdentity(
    name="NVIDIA RTX A2000", compute_capability="8.6", memory_bytes=6 << 30, driver="580.95.05", cuda="13.0"
)


@dataclass
class RecordingCuda:
    """The seam without a GPU.

    memory_bytes: device memory there is. calls: one (name, *arguments) a call. capture_fails: streams refuse to be
    captured. `leaks` says what was never given back.
    """

    gpu: GpuIdentity = FAKE_GPU
    devices: int = 1
    memory_bytes: int = 1 << 30
    capture_fails: bool = False
    calls: list[tuple[str | int, ...]] = field(default_factory=list)
    _memory: dict[int, Bytes] = field(default_factory=dict)
    _pinned: dict[int, Bytes] = field(default_factory=dict)
    _queues: dict[int, list[Work]] = field(default_factory=dict)
    _graphs: dict[int, list[Work]] = field(default_factory=dict)
    _capturing: dict[int, list[Work]] = field(default_factory=dict)
    _next: int = 0x1000

    @property
    def used_bytes(self) -> int:
        """Device memory in use."""
        return sum(len(block) for block in self._memory.values())

    def names(self) -> list[str]:
        """The calls' names, in order."""
        return [str(call[0]) for call in self.calls]

    def leaks(self) -> dict[str, int]:
        """How much of each kind was not given back; empty where all was."""
        kinds: dict[str, Sized] = {
            "device": self._memory,
            "pinned": self._pinned,
            "streams": self._queues,
            "graphs": self._graphs,
        }
        return {kind: len(held) for kind, held in kinds.items() if held}

    def at(self, address: int) -> Bytes:
        """The device memory that begins at an address; DeviceError for one that is none or was freed."""
        if address not in self._memory:
            raise DeviceError(f"CUDA failed (illegal address {address:#x}).")
        return self._memory[address]

    def enqueue(self, stream: int, work: Work) -> None:
        """Queue work, as a network's kernels would be; while capturing it is only written down."""
        self._capturing.get(stream, self._queues[stream]).append(work)

    def device_count(self) -> int:
        """As told."""
        return self.devices

    def describe(self, index: int) -> GpuIdentity:
        """The one it was made with."""
        if not 0 <= index < self.devices:
            raise DeviceError(f"There is no cuda:{index} here.", fix="--device cpu")
        return self.gpu

    def set_device(self, index: int) -> None:
        """Written down."""
        self._say("set_device", index)

    def create_stream(self) -> int:
        """An empty queue."""
        stream = self._handle("create_stream")
        self._queues[stream] = []
        return stream

    def destroy_stream(self, stream: int) -> None:
        """What was queued and never waited for is dropped."""
        self._say("destroy_stream", stream)
        del self._queues[stream]

    def wait(self, stream: int) -> None:
        """Do the work that was queued."""
        self._say("wait", stream)
        while self._queues[stream]:
            self._queues[stream].pop(0)()

    def free_memory(self) -> int:
        """What is left."""
        return self.memory_bytes - self.used_bytes

    def allocate(self, size: int) -> int:
        """Zeroed device memory; DeviceOutOfMemory above `memory_bytes`."""
        if self.used_bytes + size > self.memory_bytes:
            self._say("allocate_failed", size)
            raise DeviceOutOfMemory(f"the recording GPU: requested {size}, available {self.free_memory()} bytes")
        address = self._handle("allocate", size)
        self._memory[address] = np.zeros(size, np.uint8)
        return address

    def free(self, address: int) -> None:
        """Forget the memory and spoil it for those who kept it."""
        self._say("free", address)
        self._memory.pop(address)[:] = 0xDD

    def allocate_pinned(self, size: int) -> tuple[int, Bytes]:
        """Host memory filled with 0xCC."""
        address = self._handle("allocate_pinned", size)
        self._pinned[address] = np.full(size, 0xCC, np.uint8)
        return address, self._pinned[address]

    def free_pinned(self, address: int) -> None:
        """Forget the memory and spoil it for those who kept it."""
        self._say("free_pinned", address)
        self._pinned.pop(address)[:] = 0xDD

    def upload(self, target: int, source: int, size: int, stream: int) -> None:
        """Queued."""
        self._say("upload", target, source, size, stream)
        self.enqueue(stream, partial(self._copy, self.at(target), self._pinned[source], size))

    def download(self, target: int, source: int, size: int, stream: int) -> None:
        """Queued."""
        self._say("download", target, source, size, stream)
        self.enqueue(stream, partial(self._copy, self._pinned[target], self.at(source), size))

    def begin_capture(self, stream: int) -> None:
        """From here on work is written down."""
        self._say("begin_capture", stream)
        self._capturing[stream] = []

    def end_capture(self, stream: int) -> int:
        """A graph; DeviceError where captures fail."""
        work = self._capturing.pop(stream)
        if self.capture_fails:
            self._say("end_capture_failed", stream)
            raise DeviceError("CUDA failed (cudaStreamEndCapture: cudaErrorStreamCaptureUnsupported).")
        graph = self._handle("end_capture", stream)
        self._graphs[graph] = work
        return graph

    def launch(self, graph: int, stream: int) -> None:
        """Queue the graph's work."""
        self._say("launch", graph, stream)
        self._queues[stream].extend(self._graphs[graph])

    def destroy_graph(self, graph: int) -> None:
        """Forget it."""
        self._say("destroy_graph", graph)
        del self._graphs[graph]

    @staticmethod
    def _copy(target: Bytes, source: Bytes, size: int) -> None:
        target[:size] = source[:size]

    def _say(self, name: str, *arguments: int) -> None:
        self.calls.append((name, *arguments))

    def _handle(self, name: str, *arguments: int) -> int:
        self._next += 0x100
        self.calls.append((name, *arguments, self._next))
        return self._next
