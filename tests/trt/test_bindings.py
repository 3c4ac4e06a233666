"""The seam over cuda-python, with its module played by a table of answers: errors, versions, what is passed on."""

from __future__ import annotations

import enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fake_libcuda
from fake_libcuda import FakeLibcuda
from lits_deploy import nvidia
from lits_deploy.errors import DeviceError, DeviceOutOfMemory, MissingExtra
from lits_deploy.trt import bindings
from lits_deploy.trt.bindings import Cuda, view
from recording_cuda import RecordingCuda


class Error(enum.IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorInsufficientDriver = 35  # noqa: N815
    cudaErrorNoDevice = 100  # noqa: N815
    cudaErrorIllegalAddress = 700  # noqa: N815


class Module:
    """Answers every CUDA call with success and 7, but for those told otherwise; remembers the arguments."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815

    def __init__(self, **answers: tuple[Any, ...]) -> None:
        self.answers, self.calls = answers, []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, *arguments))
            return self.answers.get(name, (Error.cudaSuccess, 7))

        return call


def test_copies_name_target_source_size_kind_and_stream() -> None:
    module = Module()
    cuda = Cuda(module)
    cuda.upload(10, 20, 30, 40)
    cuda.download(11, 21, 31, 41)
    assert module.calls == [("cudaMemcpyAsync", 10, 20, 30, 1, 40), ("cudaMemcpyAsync", 11, 21, 31, 2, 41)]


def test_a_graph_is_instantiated_and_its_template_destroyed_even_where_that_fails() -> None:
    module = Module()
    assert Cuda(module).end_capture(3) == 7
    assert [call[0] for call in module.calls] == ["cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphDestroy"]
    module = Module(cudaGraphInstantiate=(Error.cudaErrorMemoryAllocation, None))
    with pytest.raises(DeviceOutOfMemory):
        Cuda(module).end_capture(3)
    assert module.calls[-1][0] == "cudaGraphDestroy"


def test_out_of_memory_is_told_apart_from_other_failures() -> None:
    with pytest.raises(DeviceOutOfMemory, match="cudaMalloc: cudaErrorMemoryAllocation"):
        Cuda(Module(cudaMalloc=(Error.cudaErrorMemoryAllocation, None))).allocate(1 << 40)
    free = {"cudaMemGetInfo": (Error.cudaSuccess, 512, 1024), "cudaMalloc": (Error.cudaErrorMemoryAllocation, None)}
    with pytest.raises(DeviceOutOfMemory, match="requested 1024, available 512 bytes"):
        Cuda(Module(**free)).allocate(1024)
    with pytest.raises(DeviceError, match="cudaStreamSynchronize: cudaErrorIllegalAddress"):
        Cuda(Module(cudaStreamSynchronize=(Error.cudaErrorIllegalAddress,))).wait(1)


def test_a_function_that_the_driver_lacks_is_a_device_error() -> None:
    class Old(Module):
        def __getattr__(self, name: str) -> Any:
            def call(*_: Any) -> Any:
                raise RuntimeError('Function "cuGraphInstantiateWithFlags" not found')

            return call

    with pytest.raises(DeviceError, match=r"cudaGraphLaunch: Function .* not found.*update the driver"):
        Cuda(Old()).launch(1, 2)


@pytest.mark.parametrize("error", [Error.cudaErrorInsufficientDriver, Error.cudaErrorNoDevice])
def test_no_driver_and_no_device_are_no_gpu(error: Error) -> None:
    cuda = Cuda(Module(cudaGetDeviceCount=(error, None)))
    assert cuda.device_count() == 0
    with pytest.raises(DeviceError, match="no cuda:0"):
        cuda.describe(0)


def test_a_gpu_is_described_with_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(name=b"NVIDIA L4\0", major=8, minor=9, totalGlobalMem=24 << 30)
    module = Module(
        cudaGetDeviceCount=(Error.cudaSuccess, 1),
        cudaGetDeviceProperties=(Error.cudaSuccess, properties),
        cudaDriverGetVersion=(Error.cudaSuccess, 13_010),
    )
    monkeypatch.setattr(bindings, "driver_version", lambda: "580.95.05")
    gpu = Cuda(module).describe(0)
    assert (gpu.name, gpu.compute_capability, gpu.sm, gpu.driver, gpu.cuda) == (
        "NVIDIA L4",
        "8.9",
        "sm89",
        "580.95.05",
        "13.1",
    )
    monkeypatch.setattr(bindings, "driver_version", lambda: None)
    assert Cuda(module).describe(0).driver == "unknown, CUDA 13.1"


@pytest.mark.parametrize(
    ("path", "text", "version"),
    [
        (
            "/proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\nGCC version: 13",
            "580.95.05",
        ),
        (
            "/proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n",
            "535.183.01",
        ),
        (
            "/etc/nv_tegra_release",
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
            "36.4.3",
        ),
    ],
)
def test_the_driver_is_read_from_where_it_says_its_version(
    path: str, text: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: Path, **_: Any) -> str:
        if str(self) == path:
            return text
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", read)
    assert nvidia.driver_version() == version


def test_pinned_memory_is_seen_as_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    backing = np.arange(16, dtype=np.uint8)
    module = Module(cudaHostAlloc=(Error.cudaSuccess, backing.ctypes.data))
    address, memory = Cuda(module).allocate_pinned(16)
    assert address == backing.ctypes.data
    view(memory, np.float32, (2,))[:] = [1.5, -2.5]
    assert backing.view(np.float32)[:2].tolist() == [1.5, -2.5]


def test_without_cuda_python_or_a_gpu_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "MODULES", ("no_such_module",))
    assert not bindings.installed()
    with pytest.raises(MissingExtra, match=r"cuda-bindings is not installed.*\[trt\]"):
        bindings.open_cuda()
    monkeypatch.setattr(bindings, "is_jetson", lambda: True)
    with pytest.raises(MissingExtra, match=r"\[jetson\]"):
        bindings.open_cuda()
    monkeypatch.setattr(bindings.importlib, "import_module", lambda _: Module(cudaGetDeviceCount=(35, 0)))
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        bindings.open_cuda()


@pytest.mark.parametrize(
    ("built", "count", "jetson", "says", "fix"),
    [
        (13_050, 35, False, "driver 560.35.05 runs CUDA 12.6, .* driver 580 needed", "or wheels for CUDA 12"),
        (13_050, 35, True, "cuda-bindings is built for CUDA 13: JetPack 7 needed", "pip install 'lits-deploy[jetson]'"),
        (12_090, 35, True, "shows no GPU to bindings of CUDA 12.9", "pip install 'lits-deploy[jetson]'"),
        (12_060, 100, False, "driver 560.35.05 shows no GPU to bindings of CUDA 12.6", "lits-deploy doctor"),
    ],
)
def test_a_driver_that_shows_no_gpu_is_named_with_what_it_runs(
    built: int, count: int, jetson: bool, says: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_libcuda.put_in(monkeypatch, FakeLibcuda(cuda=12_060), driver="560.35.05")
    monkeypatch.setattr(bindings, "driver_version", lambda: "560.35.05")
    for module in (bindings, nvidia):
        monkeypatch.setattr(module, "is_jetson", lambda: jetson)
    answers = {"cudaGetDeviceCount": (Error(count), None), "cudaRuntimeGetVersion": (Error.cudaSuccess, built)}
    monkeypatch.setattr(bindings.importlib, "import_module", lambda _: Module(**answers))
    with pytest.raises(DeviceError, match=says) as caught:
        bindings.open_cuda()
    assert fix in str(caught.value.fix)
    fake_libcuda.forget()


def test_the_installed_bindings_find_no_gpu_where_there_is_no_driver() -> None:
    pytest.importorskip("cuda.bindings.runtime")
    if nvidia.gpu_here():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        bindings.open_cuda()


def test_the_recording_gpu_answers_every_call_of_the_seam() -> None:
    seam = {name for name in vars(Cuda) if not name.startswith("_")}
    assert seam <= set(dir(RecordingCuda()))
