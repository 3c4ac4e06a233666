"""What a machine tells while it computes: clocks, temperatures, throttling, power mode, energy. Readers only.

    Linux        clocks and temperatures (by psutil), throttle counters, RAPL energy counters of the processor
    NVML         NVIDIA GPUs through nvidia-ml-py (`pynvml`, of the `gpu` extra): clocks, temperature, power, throttle
                 reasons, energy counter. Never run on a GPU yet. Units are those of NVML's documentation: power in mW,
                 energy in mJ since the driver was loaded (Volta and newer), clocks in MHz, reasons as a bit mask
    tegrastats   Jetson: the vendor's program, whose lines hold temperatures and the module's power

What a machine does not tell is None, never a guess. Energy is of a whole device (processor package, GPU, module), idle
power included: joules of a row say what the box took while the row ran. `root` stands for `/` in tests.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

from benchmarks.telemetry import tegrastats


class EnergyMeter(Protocol):
    """A source of energy readings. of: what it measures, in words."""

    of: str

    def joules(self) -> float:
        """Joules since some fixed moment."""
        ...


class Telemetry:
    """Everything this machine can tell. Use as a context manager: a Jetson's program runs meanwhile."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root, self._stack = root, ExitStack()
        self._gpu: GpuMeter | None = None
        self._jetson: tegrastats.Tegrastats | None = None

    def __enter__(self) -> Telemetry:
        self._gpu = open_gpu()
        if tegrastats.installed():
            with suppress(OSError):
                self._jetson = self._stack.enter_context(tegrastats.Tegrastats())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def meter(self, device: str) -> EnergyMeter | None:
        """The narrowest meter that sees `device` (`cpu`, `cuda:0`) work; None where none does."""
        if self._jetson is not None:
            return self._jetson
        if device != "cpu":
            return self._gpu if self._gpu is not None and self._gpu.counts_energy() else None
        return Rapl.find(self._root)

    def snapshot(self) -> dict[str, Any]:
        """Readings of this moment."""
        return {
            **of_system(self._root),
            "gpu": self._gpu and self._gpu.snapshot(),
            "jetson": self._jetson and self._jetson.latest,
            "power_mode": self._jetson and tegrastats.power_mode(),
        }


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


def of_system(root: Path = Path("/")) -> dict[str, Any]:
    """cpu_mhz: of each core; temperatures_c: by sensor; cpu_throttles: events since the machine started."""
    paths = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [value for path in paths if (value := _number(path)) is not None]
    clocks: list[float] = []
    temperatures: dict[str, float] = {}
    with suppress(ImportError):
        import psutil

        clocks = [core.current for core in psutil.cpu_freq(percpu=True)]
        temperatures = {
            f"{name} {one.label or number}": one.current
            for name, sensors in psutil.sensors_temperatures().items()
            for number, one in enumerate(sensors, start=1)
            if one.current > 0  # a zone that is asleep says 0 or less
        }
    throttles = sum(counts) if counts else None
    return {"cpu_mhz": clocks or None, "temperatures_c": temperatures or None, "cpu_throttles": throttles}


class Rapl:
    """The processor packages' energy counters (Intel's RAPL interface, which AMD processors have too).

    A counter starts anew at its range; one turn between two readings is allowed for. Often readable by root only.
    """

    of = "processor packages (RAPL), idle power included"

    def __init__(self, zones: list[Path]) -> None:
        self._zones = zones
        self._ranges = [_number(zone / "max_energy_range_uj") or 0 for zone in zones]
        self._last = self._read()
        self._microjoules = 0

    @classmethod
    def find(cls, root: Path = Path("/")) -> Rapl | None:
        """The packages' counters, or None where there are none that may be read."""
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*"))
        zones = [zone for zone in zones if zone.name.count(":") == 1 and _number(zone / "energy_uj") is not None]
        return cls(zones) if zones else None

    def joules(self) -> float:
        """Joules of all packages since the meter was made."""
        before, self._last = self._last, self._read()
        for start, now, most in zip(before, self._last, self._ranges, strict=True):
            self._microjoules += now - start if now >= start else now - start + most
        return self._microjoules / 1e6

    def _read(self) -> list[int]:
        return [_number(zone / "energy_uj") or 0 for zone in self._zones]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


_REASONS = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""Reasons that slow a busy GPU down; idle (0x1), application clocks (0x2) and sync boost (0x10) are none."""


class GpuMeter:
    """One GPU. library: the `pynvml` module, or what stands in for it."""

    of = "the GPU (NVML), idle power included, without the host"

    def __init__(self, library: Any) -> None:
        self._nvml = library
        self._handle = library.nvmlDeviceGetHandleByIndex(0)

    def snapshot(self) -> dict[str, Any]:
        """What the GPU tells; None for what it does not support."""
        nvml, ask = self._nvml, self._ask
        power, limit = ask("PowerUsage"), ask("EnforcedPowerLimit")
        mask = ask("CurrentClocksThrottleReasons") or 0
        return {
            "clock_mhz": ask("ClockInfo", nvml.NVML_CLOCK_SM),
            "memory_clock_mhz": ask("ClockInfo", nvml.NVML_CLOCK_MEM),
            "temperature_c": ask("Temperature", nvml.NVML_TEMPERATURE_GPU),
            "power_w": None if power is None else power / 1000,
            "power_limit_w": None if limit is None else limit / 1000,
            "performance_state": ask("PerformanceState"),
            "throttle_reasons": [name for bit, name in _REASONS.items() if mask & bit],
        }

    def counts_energy(self) -> bool:
        """True where the GPU has an energy counter."""
        return self._ask("TotalEnergyConsumption") is not None

    def joules(self) -> float:
        """Joules since the driver was loaded."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000

    def _ask(self, what: str, *more: int) -> Any:
        try:
            return getattr(self._nvml, f"nvmlDeviceGet{what}")(self._handle, *more)
        except self._nvml.NVMLError:  # not supported by this GPU, or not allowed
            return None


def open_gpu() -> GpuMeter | None:
    """The first GPU, or None without the library, the driver or a GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return GpuMeter(pynvml)
    except pynvml.NVMLError:
        return None
