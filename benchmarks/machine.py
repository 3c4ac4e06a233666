"""What a measurement ran on: processor, cores, frequency governor, load, GPUs, versions. Imports no runtime."""

from __future__ import annotations

import os
import platform
import re
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from lits_deploy import DISCLAIMER, __version__
from lits_deploy.machine import cores, proc_value, processor
from lits_deploy.revision import git_revision

LIBRARIES = (
    *("numpy", "pillow", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx-cu13-bindings"),
    *("cuda-bindings", "torch"),
)

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


class MachineRecord:
    """The machine at the start of a measurement; `document` closes it."""

    def __init__(self) -> None:
        self._machine, self._ticks = describe_machine(), _processor_ticks()

    def document(self, kind: str, schema: int, **values: Any) -> dict[str, Any]:
        """A record: kind, schema, machine with the share of stolen time, notes on who else was computing."""
        now = _processor_ticks()
        spent, stolen = (after - before for before, after in zip(self._ticks, now, strict=True))
        machine = {**self._machine, "stolen_share": stolen / spent if spent > 0 else None}
        notes = [*values.pop("notes", []), *busy_notes(machine)]
        head = {"kind": kind, "schema": schema, "disclaimer": DISCLAIMER, "machine": machine}
        return {**head, **values, "notes": notes}


def machine_name(machine: dict[str, Any]) -> str:
    """A name for files: `2core-amd-epyc`, or the GPU's where there is one."""
    text = next(iter(machine["gpus"]), f"{machine['cores']}core-{machine['processor']}")
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def busy_notes(machine: dict[str, Any]) -> list[str]:
    """Warnings where others were computing: programs at the start, other guests of the host since then."""
    load, stolen = float(machine["load_average"][0]), machine.get("stolen_share") or 0.0
    notes = []
    if load >= IDLE_LOAD:
        notes.append(f"the machine was not idle: load average {load:.1f} on {machine['cores']} cores at the start")
    if stolen >= LITTLE_STOLEN:
        notes.append(f"the host gave {100 * stolen:.1f} % of the cores' time to other machines during the measurement")
    return notes


def _processor_ticks() -> tuple[int, int]:
    """Clock ticks of all cores since the machine started: in all, and stolen by other guests of the same host."""
    ticks = [int(field) for field in (_text(Path("/proc/stat")) or "").partition("\n")[0].split()[1:9]]
    return sum(ticks), ticks[7] if len(ticks) > 7 else 0


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _memory_mb() -> float | None:
    total = proc_value("meminfo", "MemTotal")
    return None if total is None else round(int(total.split()[0]) * 1024 / 1e6)


def _gpus() -> list[str]:
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = [line for path in files for line in (_text(path) or "").splitlines()]
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None
