"""What a machine tells while it computes: clocks, temperatures, throttling, power mode, energy. Readers only.

    sysfs        Linux: clocks, temperatures, throttle counters, RAPL energy counters of the processor
    nvml         NVIDIA GPUs through nvidia-ml-py: clocks, temperature, power, throttle reasons, energy counter
    tegrastats   Jetson: the vendor's program, whose lines hold temperatures and the module's power

What a machine does not tell is None, never a guess. Energy is of a whole device (processor package, GPU, module), idle
power included: joules of a row say what the box took while the row ran.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from benchmarks.telemetry import nvml, sysfs, tegrastats


class Meter(Protocol):
    """A source of energy readings. of: what it measures, in words."""

    of: str

    def joules(self) -> float:
        """Joules since some fixed moment."""
        ...


class Telemetry:
    """Everything this machine can tell. Use as a context manager: a Jetson's program runs meanwhile."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root, self._stack = root, ExitStack()
        self._gpu: nvml.Gpu | None = None
        self._jetson: tegrastats.Tegrastats | None = None

    def __enter__(self) -> Telemetry:
        self._gpu = nvml.open_gpu()
        if tegrastats.installed():
            with suppress(OSError):
                self._jetson = self._stack.enter_context(tegrastats.Tegrastats())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def meter(self, device: str) -> Meter | None:
        """The narrowest meter that sees `device` (`cpu`, `cuda:0`) work; None where none does."""
        if self._jetson is not None:
            return self._jetson
        if device != "cpu":
            return self._gpu if self._gpu is not None and self._gpu.counts_energy() else None
        return sysfs.Rapl.find(self._root)

    def snapshot(self) -> dict[str, Any]:
        """Readings of this moment."""
        values: dict[str, Any] = sysfs.snapshot(self._root)
        values["gpu"] = None if self._gpu is None else self._gpu.snapshot()
        values["jetson"] = None if self._jetson is None else self._jetson.latest
        values["power_mode"] = tegrastats.power_mode() if self._jetson is not None else None
        return values


def throttled(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Why figures taken between two snapshots may be those of a throttled machine; empty where nothing says so."""
    found = []
    first, last = before.get("cpu_throttles"), after.get("cpu_throttles")
    if first is not None and last is not None and last > first:
        found.append(f"the processor throttled {last - first} times")
    reasons = {reason for values in (before, after) for reason in (values.get("gpu") or {}).get("throttle_reasons", ())}
    if reasons:
        found.append(f"the GPU reported: {', '.join(sorted(reasons))}")
    return found
