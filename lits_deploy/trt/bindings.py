"""CUDA through NVIDIA's bindings: `cuda.bindings.runtime`, or `cuda.cudart` as releases before 12.6 have it.

Both return a tuple that begins with an error code, and take plain integers for handles. Written from the bindings'
own signatures; what has run on which hardware stands in docs/tensorrt.md. Streams, graphs and addresses are plain
integers, sizes are bytes. A call that fails raises DeviceOutOfMemory where the device's (or pinned) memory ran out,
else DeviceError.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import DeviceError, DeviceOutOfMemory, LitsError, MissingExtra
from lits_deploy.nvidia import Trouble, driver_version, is_jetson, trouble

Bytes = npt.NDArray[np.uint8]

MODULES = ("cuda.bindings.runtime", "cuda.cudart")

_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
_NO_DRIVER = (35, 100)  # cudaErrorInsufficientDriver, cudaErrorNoDevice
_NON_BLOCKING = 1  # cudaStreamNonBlocking


@dataclass(frozen=True, kw_only=True)
class GpuIdentity:
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


def installed() -> bool:
    """True where one of the bindings is; imports none of them."""
    for name in MODULES:
        with suppress(ImportError):
            if importlib.util.find_spec(name) is not None:
                return True
    return False


def open_cuda() -> Cuda:
    """The bindings on a machine with a GPU.

    Raises MissingExtra without the bindings, DeviceError where they find no GPU.
    """
    runtime = None
    for name in MODULES:
        with suppress(ImportError):
            runtime = importlib.import_module(name)
            break
    if runtime is None:
        raise MissingExtra("cuda-bindings", "jetson" if is_jetson() else "trt")
    cuda = Cuda(runtime)
    if cuda.device_count() == 0:
        built = runtime.cudaRuntimeGetVersion()[1]  # asks no driver
        found = trouble("cuda-bindings", built // 1000) or Trouble(
            f"driver {driver_version()} shows no GPU to bindings of CUDA {_spelled(built)}",
            "pip install 'lits-deploy[jetson]'" if is_jetson() else "lits-deploy doctor",
        )
        raise DeviceError(f"CUDA does not start: {found.found}.", fix=found.fix)
    return cuda


def _spelled(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


class Cuda:
    """CUDA over one of the modules of MODULES. All work is queued on streams; nothing but `wait` waits."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def device_count(self) -> int:
        """GPUs here; 0 where there is no driver, it is too old for these bindings, or it sees none."""
        try:
            error, count = self._runtime.cudaGetDeviceCount()
        except RuntimeError:  # of cuda-python 12.6, without libcuda.so.1
            return 0
        return 0 if int(error) in _NO_DRIVER else int(self._checked("cudaGetDeviceCount", (error, count)))

    def describe(self, index: int) -> GpuIdentity:
        """From the device's properties; DeviceError for an index that is none."""
        count = self.device_count()
        if not 0 <= index < count:
            raise DeviceError(f"There is no cuda:{index} here.", fix=f"use cuda:0 … cuda:{count - 1}, or --device cpu")
        properties = self._call("cudaGetDeviceProperties", index)
        speaks = int(self._call("cudaDriverGetVersion"))
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        cuda = _spelled(speaks)
        return GpuIdentity(
            name=name.strip("\0 "),
            compute_capability=f"{properties.major}.{properties.minor}",
            memory_bytes=int(properties.totalGlobalMem),
            driver=driver_version() or f"unknown, CUDA {cuda}",
            cuda=cuda,
        )

    def set_device(self, index: int) -> None:
        """Make the GPU the calling thread's."""
        self._call("cudaSetDevice", index)

    def create_stream(self) -> int:
        """A stream that does not wait for the default stream."""
        return int(self._call("cudaStreamCreateWithFlags", _NON_BLOCKING))

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""
        self._call("cudaStreamDestroy", stream)

    def wait(self, stream: int) -> None:
        """Block this thread until all that is queued on the stream is done; other threads go on.

        Not by cudaEventSynchronize: with cuda-python 12.6 all of Python stands still in it.
        """
        self._call("cudaStreamSynchronize", stream)

    def free_memory(self) -> int | None:
        """Bytes of device memory that nobody has now; None where the driver does not say."""
        with suppress(LitsError):
            return int(self._call("cudaMemGetInfo"))
        return None

    def allocate(self, size: int) -> int:
        """Device memory: its address."""
        try:
            return int(self._call("cudaMalloc", size))
        except DeviceOutOfMemory as error:
            raise DeviceOutOfMemory(f"{error}, requested {size}, available {self.free_memory()} bytes") from error

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call("cudaFree", address)

    def allocate_pinned(self, size: int) -> tuple[int, Bytes]:
        """Page-locked host memory: its address, and the same memory as uint8 [size]."""
        address = int(self._call("cudaHostAlloc", size, 0))
        return address, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_pinned(self, address: int) -> None:
        """Give page-locked memory back; its array must not be touched any more."""
        self._call("cudaFreeHost", address)

    def upload(self, target: int, source: int, size: int, stream: int) -> None:
        """Queue a copy from pinned to device memory."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", target, source, size, kind, stream)

    def download(self, target: int, source: int, size: int, stream: int) -> None:
        """Queue a copy from device to pinned memory."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", target, source, size, kind, stream)

    def begin_capture(self, stream: int) -> None:
        """From here on, what is queued on the stream is written down and not done; other threads' calls are."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        """The graph of all that was written down, ready to launch. Ends the capture even where it failed."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return int(self._call("cudaGraphInstantiate", graph, 0))
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        """Queue all of a graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Give a graph back."""
        self._call("cudaGraphExecDestroy", graph)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return self._checked(name, getattr(self._runtime, name)(*arguments))
        except RuntimeError as error:  # cuda-python 12.6 looks the driver's functions up, and this one is not there
            raise DeviceError(f"CUDA failed ({name}: {error}).", fix="update the driver, or --device cpu") from error

    def _checked(self, name: str, result: tuple[Any, ...]) -> Any:
        error = result[0]
        if int(error) == 0:
            return result[1] if len(result) > 1 else None
        reason = f"{name}: {getattr(error, 'name', error)}"
        if int(error) == _OUT_OF_MEMORY:
            raise DeviceOutOfMemory(reason)
        raise DeviceError(f"CUDA failed ({reason}).", fix="see `lits-deploy doctor`; start again, or use --device cpu")


def view(memory: Bytes, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The first bytes of pinned memory as an array of another type; no copy."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    array: npt.NDArray[Any] = memory[:size].view(dtype).reshape(shape)
    return array
