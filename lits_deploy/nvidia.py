"""What the system says of an NVIDIA GPU and its driver, and what the driver's own library says (libcuda, by ctypes)."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from lits_deploy.errors import DeviceError
from lits_deploy.machine import proc_value

_GPU_FILES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/usr/lib/wsl/lib/libcuda.so.1")
"""Of a PC; two of a Jetson; WSL2 has one device for GPUs of all makers, and this library where NVIDIA's driver is."""
_TEGRA = "/etc/nv_tegra_release"

_DRIVERS = {12: "525", 13: "580"}
"""Oldest branch of the driver that runs programs for that CUDA: within a major version, any minor one will do."""

LEAST_FREE = 1 << 30
"""Bytes of a GPU that must be free for `auto` to take it: CUDA, cuDNN, weights and a batch of a small network."""

_OUT_OF_MEMORY, _INTEGRATED, _MAJOR, _MINOR = 2, 18, 75, 76  # CUresult; CUdevice_attribute


class Trouble(NamedTuple):
    """Why something does not work on the GPU here, without a full stop, and what mends it."""

    found: str
    fix: str


NO_GPU = Trouble("there is no NVIDIA GPU here", "--device cpu")


def gpu_here() -> bool:
    """True where an NVIDIA driver shows a GPU to programs; asks no library."""
    return any(Path(name).exists() for name in _GPU_FILES)


def is_jetson() -> bool:
    """True on a Jetson board, and in containers that are told of it."""
    return Path(_TEGRA).exists()


def driver_version() -> str | None:
    """Version of the NVIDIA kernel driver, on a Jetson of L4T; None where neither says."""
    for path, pattern in (
        ("/proc/driver/nvidia/version", r"\s(\d{3,}\.\d+(?:\.\d+)?)\s"),
        (_TEGRA, r"R(\d+).*REVISION: (\d+\.\d+)"),
    ):
        with suppress(OSError):
            if match := re.search(pattern, Path(path).read_text(encoding="utf-8", errors="replace")):
                return ".".join(match.groups())
    return None


def trouble(who: str, cuda: int) -> Trouble | None:
    """Why `who`, which is built for that major version of CUDA, cannot use a GPU here; None: nothing speaks against it.

    Starts CUDA (`cuInit`) where there is a GPU, but takes nothing of it.
    """
    if not gpu_here():
        return NO_GPU
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return Trouble("CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    spoken = _spoken()
    if isinstance(spoken, Trouble):
        return spoken
    if spoken[0] >= cuda:
        return None
    needed = "JetPack 7" if is_jetson() else f"driver {_DRIVERS.get(cuda, 'of a newer branch')}"
    return Trouble(
        f"driver {driver_version() or 'of unknown version'} runs CUDA {spoken[0]}.{spoken[1]}, and {who} is built for "
        f"CUDA {cuda}: {needed} needed",
        "pip install 'lits-deploy[jetson]'"
        if is_jetson()
        else f"install {needed} or newer, or wheels for CUDA {spoken[0]} (docs/tensorrt.md names them)",
    )


def count() -> int:
    """GPUs that CUDA shows to this process; 0 where it does not start."""
    number = ctypes.c_int()
    if not gpu_here() or isinstance(_spoken(), Trouble) or _libcuda().cuDeviceGetCount(ctypes.byref(number)):
        return 0
    return number.value


@functools.cache
def memory_trouble(index: int = 0) -> Trouble | None:
    """Why a network should not be put on that GPU now: too little of its memory is free, or it gives none.

    Makes a context on the GPU for a moment, which takes a few tenths of a second.
    """
    cuda, device, context = _libcuda(), ctypes.c_int(), ctypes.c_void_p()
    name, free, total = ctypes.create_string_buffer(100), ctypes.c_size_t(), ctypes.c_size_t()
    code = cuda.cuDeviceGet(ctypes.byref(device), index) or cuda.cuDeviceGetName(name, len(name), device)
    code = code or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    if not code:
        cuda.cuCtxPushCurrent_v2(context)
        code = cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        cuda.cuCtxPopCurrent_v2(ctypes.byref(context))
        cuda.cuDevicePrimaryCtxRelease_v2(device)
    gpu, fix = name.value.decode(errors="replace"), "end the programs that hold it (nvidia-smi lists them)"
    if code not in (0, _OUT_OF_MEMORY):
        return Trouble(f"{gpu} cannot be used now: {_named(code)}", fix)
    room = free.value
    if not code and _attribute(_INTEGRATED, index):  # memory of the whole machine, of which caches give way
        room = max(room, int((proc_value("meminfo", "MemAvailable") or "0").split()[0]) * 1024)
    if room >= LEAST_FREE:
        return None
    of = f" of {total.value >> 20:,}" if total.value else ""
    return Trouble(f"{gpu} has {room >> 20:,}{of} MiB free, and {LEAST_FREE >> 20:,} are wanted", fix)


def gpu_name(index: int) -> str | None:
    """Of that GPU, such as `NVIDIA H200`; None where CUDA does not start or knows no such GPU."""
    if not gpu_here() or isinstance(_spoken(), Trouble):
        return None
    cuda, device, name = _libcuda(), ctypes.c_int(), ctypes.create_string_buffer(100)
    code = cuda.cuDeviceGet(ctypes.byref(device), index) or cuda.cuDeviceGetName(name, len(name), device)
    return None if code else name.value.decode(errors="replace")


def compute_capability(index: int) -> tuple[int, int] | None:
    """Of that GPU, such as (8, 6); None where CUDA does not start or knows no such GPU."""
    if not gpu_here() or isinstance(_spoken(), Trouble):
        return None
    found = (_attribute(_MAJOR, index), _attribute(_MINOR, index))
    return None if None in found else found  # type: ignore[return-value]


def no_tf32(why: str) -> DeviceError:
    """The error where a network cannot be multiplied in TF32."""
    return DeviceError(
        f"TF32 needs an NVIDIA GPU of Ampere or later (compute capability 8.0), with TensorRT or ONNX Runtime: {why}.",
        fix="--precision fp32",
    )


@functools.cache
def _spoken() -> tuple[int, int] | Trouble:
    """The newest CUDA that the driver runs, as (major, minor), after CUDA was started."""
    try:
        cuda = _libcuda()
    except OSError:
        fix = "install the NVIDIA driver; in a container: docker run --gpus all"
        return Trouble("the driver's library, libcuda.so.1, is missing or cannot be loaded", fix)
    version = ctypes.c_int()
    code = cuda.cuInit(0) or cuda.cuDriverGetVersion(ctypes.byref(version))
    if not code:
        return version.value // 1000, version.value % 1000 // 10
    driver = driver_version()
    why = f"driver {driver}" if driver else "its driver is not loaded"
    fix = "reboot after an update of the driver; a GPU in MIG mode needs an instance (nvidia-smi mig -lgi)"
    return Trouble(f"CUDA does not start ({_named(code)}; {why})", fix)


def _attribute(attribute: int, index: int) -> int | None:
    cuda, device, value = _libcuda(), ctypes.c_int(), ctypes.c_int()
    code = cuda.cuDeviceGet(ctypes.byref(device), index)
    code = code or cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return None if code else value.value


def _named(code: int) -> str:
    text = ctypes.c_char_p()
    _libcuda().cuGetErrorName(code, ctypes.byref(text))
    return text.value.decode() if text.value else f"error {code}"


def _libcuda() -> Any:
    return ctypes.CDLL("libcuda.so.1")
