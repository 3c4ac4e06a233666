"""What this project asks of CUDA. Streams, events, graphs and addresses are plain integers, sizes are bytes.

A call that fails raises DeviceOutOfMemory where the device's (or pinned) memory ran out, else DeviceError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU as an engine's key knows it.

    compute_capability: like `8.6`. driver: version of the kernel driver, like `580.95.05` (on a Jetson: of L4T). cuda:
    the newest CUDA that the driver speaks, like `13.0`.
    """

    name: str
    compute_capability: str
    memory_bytes: int
    driver: str
    cuda: str

    @property
    def sm(self) -> str:
        """The compute capability as compilers spell it: `sm86`."""
        return "sm" + self.compute_capability.replace(".", "")


class Cuda(Protocol):
    """The seam. All work is queued on streams; nothing but `wait` waits."""

    def device_count(self) -> int:
        """GPUs here; 0 where there is no driver."""
        ...

    def describe(self, index: int) -> Gpu:
        """Name, capability, memory, driver of a GPU."""
        ...

    def set_device(self, index: int) -> None:
        """Make the GPU the calling thread's."""
        ...

    def create_stream(self) -> int:
        """A stream that does not wait for the default stream."""
        ...

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""
        ...

    def wait(self, stream: int) -> None:
        """Block this thread until all that is queued on the stream is done; other threads go on."""
        ...

    def free_memory(self) -> int | None:
        """Bytes of device memory that nobody has now; None where the driver does not say."""
        ...

    def allocate(self, size: int) -> int:
        """Device memory: its address."""
        ...

    def free(self, address: int) -> None:
        """Give device memory back."""
        ...

    def allocate_pinned(self, size: int) -> tuple[int, Bytes]:
        """Page-locked host memory: its address, and the same memory as uint8 [size]."""
        ...

    def free_pinned(self, address: int) -> None:
        """Give page-locked memory back; its array must not be touched any more."""
        ...

    def upload(self, target: int, source: int, size: int, stream: int) -> None:
        """Queue a copy from pinned to device memory."""
        ...

    def download(self, target: int, source: int, size: int, stream: int) -> None:
        """Queue a copy from device to pinned memory."""
        ...

    def begin_capture(self, stream: int) -> None:
        """From here on, what is queued on the stream is written down and not done."""
        ...

    def end_capture(self, stream: int) -> int:
        """The graph of all that was written down, ready to launch. Ends the capture even where it failed."""
        ...

    def launch(self, graph: int, stream: int) -> None:
        """Queue all of a graph."""
        ...

    def destroy_graph(self, graph: int) -> None:
        """Give a graph back."""
        ...


def view(memory: Bytes, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The first bytes of pinned memory as an array of another type; no copy."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array: npt.NDArray[Any] = memory[:size].view(dtype).reshape(shape)
    return array
