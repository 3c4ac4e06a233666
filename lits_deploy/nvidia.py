"""What the system says of an NVIDIA GPU and its driver, without asking a library."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_GPU_FILES = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu")  # the last two on a Jetson


def gpu_here() -> bool:
    """True where an NVIDIA driver shows a GPU to programs; asks no library."""
    return any(Path(name).exists() for name in _GPU_FILES)


def driver_version() -> str | None:
    """Version of the NVIDIA kernel driver, on a Jetson of L4T; None where neither says."""
    for path, pattern in (
        ("/proc/driver/nvidia/version", r"\s(\d{3,}\.\d+(?:\.\d+)?)\s"),
        ("/etc/nv_tegra_release", r"R(\d+).*REVISION: (\d+\.\d+)"),
    ):
        with suppress(OSError):
            if match := re.search(pattern, Path(path).read_text(encoding="utf-8", errors="replace")):
                return ".".join(match.groups())
    return None
