"""An NVIDIA GPU as files and libcuda tell of it, for tests on machines without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from lits_deploy import backends, nvidia
from lits_deploy.runtime import onnxruntime_
from lits_deploy.trt import open as trt_open


@dataclass
class FakeLibcuda:
    """What the driver's library answers; sizes in MiB. start, context: error codes of cuInit and of a new context."""

    cuda: int = 13_000
    start: int = 0
    context: int = 0
    free: int = 14_000
    total: int = 15_360
    name: str = "NVIDIA L4"
    capability: tuple[int, int] = (8, 9)
    integrated: bool = False
    contexts: int = 0

    def cuInit(self, _flags: int) -> int:  # noqa: N802
        return self.start

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = self.cuda
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = index
        return 0 if index == 0 else 101

    def cuDeviceGetName(self, name: Any, _size: int, _device: Any) -> int:  # noqa: N802
        name.value = self.name.encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, _device: Any) -> int:  # noqa: N802
        value._obj.value = {18: int(self.integrated), 75: self.capability[0], 76: self.capability[1]}[attribute]
        return 0

    def cuDevicePrimaryCtxRetain(self, _context: Any, _device: Any) -> int:  # noqa: N802
        self.contexts += not self.context
        return self.context

    def cuDevicePrimaryCtxRelease_v2(self, _device: Any) -> int:  # noqa: N802
        self.contexts -= 1
        return 0

    def cuCtxPushCurrent_v2(self, _context: Any) -> int:  # noqa: N802
        return 0

    def cuCtxPopCurrent_v2(self, _context: Any) -> int:  # noqa: N802
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802
        free._obj.value, total._obj.value = self.free << 20, self.total << 20
        return 0

    def cuGetErrorName(self, code: int, text: Any) -> int:  # noqa: N802
        text._obj.value = {46: b"CUDA_ERROR_DEVICE_UNAVAILABLE", 100: b"CUDA_ERROR_NO_DEVICE"}.get(code)
        return 0


def put_in(monkeypatch: pytest.MonkeyPatch, library: FakeLibcuda | None, *, driver: str | None) -> None:
    """Put a GPU into this machine. library: None where libcuda cannot be loaded; driver: None where none is loaded."""

    def load() -> Any:
        if library is None:
            raise OSError("libcuda.so.1: cannot open shared object file: No such file or directory")
        return library

    forget()
    monkeypatch.setattr(nvidia, "gpu_here", lambda: True)
    monkeypatch.setattr(nvidia, "driver_version", lambda: driver)
    monkeypatch.setattr(nvidia, "_libcuda", load)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def forget() -> None:
    """All that this process has found out of its GPU."""
    for kept in (nvidia._spoken, nvidia.memory_trouble, onnxruntime_._tried, trt_open._tried, backends._warn):
        kept.cache_clear()
