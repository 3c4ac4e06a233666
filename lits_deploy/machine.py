"""What the machine says of itself: for records, benchmarks and defaults. Linux first; elsewhere what Python knows."""

from __future__ import annotations

import math
import os
import platform
import resource
import sys
from pathlib import Path

from lits_deploy import cgroup


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


_SIMD = {
    *("sse2", "ssse3", "sse4_1", "sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx_ifma", "avx_vnni_int8"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("asimd", "asimdhp", "asimddp", "asimdfhm", "i8mm", "bf16", "sve", "sve2", "sme"),
}
"""Instruction sets by which runtimes choose how they add and multiply: x86's, then Arm's."""


def processor_class() -> str:
    """Architecture and instruction sets of the processor: where they are equal, a runtime rounds alike."""
    flags = proc_value("cpuinfo", "flags") or proc_value("cpuinfo", "Features") or ""
    return " ".join((platform.machine(), *sorted(_SIMD & {*flags.split()})))


def allowed_cores() -> int:
    """Cores that this process may be put on (its affinity), whatever share of their time it may have."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """Threads and processes worth having at once: by affinity, and by the cgroup's quota of time, rounded up.

    More threads than the quota has cores are all stopped for the rest of a period once they have used it up together.
    Rounded up, for a thread less would leave the fraction unused.
    """
    quota = cgroup.cpu_quota()
    return allowed_cores() if quota is None else max(1, min(allowed_cores(), math.ceil(quota)))


def peak_resident_bytes() -> int:
    """Peak resident memory of this process since its program began.

    VmHWM, not `ru_maxrss`: Linux hands the latter down through exec, so a small program started by a large one would
    report the large one's.
    """
    if (peak := proc_value("self/status", "VmHWM")) is not None:
        return int(peak.split()[0]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def import_path() -> list[str]:
    """Our import path for a child, without "", the current folder; where this package lies is always on it."""
    package_root = str(Path(__file__).resolve().parent.parent)
    entries = [str(Path(entry).absolute()) for entry in sys.path if entry]
    return entries if package_root in entries else [package_root, *entries]
