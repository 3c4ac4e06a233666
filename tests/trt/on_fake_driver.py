"""Run in a process of its own by test_fake_driver.py: TensorRt over Cuda over cuda-python over fake_libcuda.c.

Each function is a scene; the process is given the name of one.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from lits_deploy.errors import DeviceError, DeviceOutOfMemory
from lits_deploy.runtime import Device
from lits_deploy.trt import bindings
from lits_deploy.trt.bindings import Bytes, Cuda
from lits_deploy.trt.runtime import TensorRt
from trt_fakes import FakeEngine

SHAPE = (1, 8, 8)


class Driver(Cuda):
    """Our bindings, and what the fake engine needs: to run Python in place of kernels, and to see device memory."""

    def __init__(self) -> None:
        super().__init__(bindings.open_cuda()._runtime)
        self.library = ctypes.CDLL("libcuda.so.1")
        self.library.fake_memory.restype = ctypes.c_void_p
        self.calls: list[Any] = []
        self._kept: list[Any] = []

    def at(self, address: int) -> Bytes:
        size = ctypes.c_size_t()
        memory = self.library.fake_memory(ctypes.c_size_t(address), ctypes.byref(size))
        assert memory, "no such device memory"
        return np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(memory))

    def enqueue(self, stream: int, work: Callable[[], None]) -> None:
        self._kept.append(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: work()))
        assert self.library.cuLaunchHostFunc(ctypes.c_size_t(stream), self._kept[-1], None) == 0


def compute(slices: np.ndarray) -> dict[str, np.ndarray]:
    sums = slices.reshape(len(slices), -1).sum(axis=1, dtype=np.float64)
    logits = np.stack([sums, -sums, sums % 7], axis=1)
    return {"logits": logits, "probabilities": logits / 1e4}


def slices(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((count, seed)).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def opened(cuda: Driver, index: int = 0, **engine: Any) -> TensorRt:
    return TensorRt(
        FakeEngine(cuda, compute, **engine),
        cuda,
        device=Device("cuda", index),
        precision="fp16",
        shape=SHAPE,
        wanted=("logits",),
        max_batch=8,
    )


def right(runtime: TensorRt, count: int, seed: int = 0) -> None:
    batch = slices(count, seed)
    np.testing.assert_array_equal(runtime.infer(batch).logits, compute(batch)["logits"].astype(np.float32))


def infer() -> None:
    with opened(Driver()) as runtime:
        for seed, count in enumerate([8, 8, 3, 5, 1, 3]):
            right(runtime, count, seed)


def describe() -> None:
    cuda = Driver()
    gpu = cuda.describe(1)
    assert (cuda.device_count(), gpu.name, gpu.compute_capability, gpu.memory_bytes) == (2, "Orin 1", "8.7", 1 << 20)
    assert gpu.cuda == "12.6"


def second_gpu() -> None:
    with opened(Driver(), 1) as runtime:
        thread = threading.Thread(target=right, args=(runtime, 3))  # CUDA's device belongs to the thread
        thread.start()
        thread.join()


def out_of_memory() -> None:
    with opened(Driver()) as runtime:
        right(runtime, 2)
        try:
            runtime.infer(slices(8))
        except DeviceOutOfMemory as error:
            print(error)
        right(runtime, 4, 1)


def other_threads_run() -> None:
    cuda = Driver()
    with opened(cuda) as runtime:
        right(runtime, 2)
        cuda.library.fake_hold(1)
        threading.Timer(0.05, cuda.library.fake_hold, (0,)).start()  # runs only if waiting leaves Python to others
        right(runtime, 2, 1)


def no_gpu() -> None:
    try:
        bindings.open_cuda()
    except DeviceError as error:
        print(error)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
