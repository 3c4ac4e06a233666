"""What a measurement ran on: processor, cores, frequency governor, load, GPUs, versions. Imports no runtime."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from lits_deploy import __version__
from lits_deploy.machine import cores, proc_value, processor
from lits_deploy.revision import git_revision

LIBRARIES = (
    "numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx-cu13-bindings",
    "cuda-bindings", "torch",
)  # fmt: skip


IDLE_LOAD = 0.3
"""Load average (one minute) from which a machine does not count as idle."""

LITTLE_STOLEN = 0.01
"""Share of stolen processor time from which a virtual machine's figures get a note."""


def describe_machine() -> dict[str, Any]:
    """A record for the results: hardware, load and date now, and versions. A value that cannot be read is None."""
    return {
        "processor": processor(),
        "machine": platform.machine(),
        "board": _text(Path("/proc/device-tree/model")),
        "cores": cores(),
        "cores_in_machine": os.cpu_count(),
        "virtual": "hypervisor" in (proc_value("cpuinfo", "flags") or "").split(),
        "governor": _text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "memory_mb": _memory_mb(),
        "gpus": _gpus(),
        "nvidia_driver": (_text(Path("/proc/driver/nvidia/version")) or "").partition("\n")[0] or None,
        "load_average": list(os.getloadavg()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": _versions(),
        "lits_deploy": __version__,
        "git": git_revision(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def busy_notes(machine: dict[str, Any], stolen: float | None) -> list[str]:
    """Warnings where others were computing: programs at the start, other guests of the host since then."""
    load = float(machine["load_average"][0])
    notes = []
    if load >= IDLE_LOAD:
        notes.append(f"the machine was not idle: load average {load:.1f} on {machine['cores']} cores at the start")
    if stolen is not None and stolen >= LITTLE_STOLEN:
        notes.append(f"the host gave {100 * stolen:.1f} % of the cores' time to other machines during the measurement")
    return notes


def processor_ticks() -> dict[str, int]:
    """Clock ticks of all cores since the machine started: in all, and stolen by other guests of the same host."""
    fields = (_text(Path("/proc/stat")) or "").partition("\n")[0].split()[1:9]
    ticks = [int(field) for field in fields]
    return {"all": sum(ticks), "stolen": ticks[7] if len(ticks) > 7 else 0}


def stolen_share(before: dict[str, int], after: dict[str, int]) -> float | None:
    """Share of the cores' time that the host gave to other guests in between; None where that cannot be known."""
    spent = after["all"] - before["all"]
    return (after["stolen"] - before["stolen"]) / spent if spent > 0 else None


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _memory_mb() -> float | None:
    total = proc_value("meminfo", "MemTotal")
    return None if total is None else round(int(total.split()[0]) * 1024 / 1e6)


def _gpus() -> list[str]:
    names = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in (_text(path) or "").splitlines():
            if line.startswith("Model:"):
                names.append(line.partition(":")[2].strip())
    return names


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None
