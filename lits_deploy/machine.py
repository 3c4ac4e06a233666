"""What the machine says of itself: for run records and benchmarks. Linux first; elsewhere what Python knows."""

from __future__ import annotations

import platform
import resource
import sys
from pathlib import Path


def proc_value(file: str, key: str) -> str | None:
    """Value of the first `key: value` line of a file below /proc; None where there is none."""
    try:
        lines = Path("/proc", file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def processor() -> str:
    """The processor's name."""
    return proc_value("cpuinfo", "model name") or platform.processor() or platform.machine()


def peak_resident_bytes() -> int:
    """Peak resident memory of this process since its program began.

    VmHWM, not `ru_maxrss`: Linux hands the latter down through exec, so a small program started by a large one would
    report the large one's.
    """
    if (peak := proc_value("self/status", "VmHWM")) is not None:
        return int(peak.split()[0]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
