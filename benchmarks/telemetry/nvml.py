"""An NVIDIA GPU's readings through nvidia-ml-py (`pynvml`, of the `gpu` extra). Never run on a GPU yet.

Names and units are those of NVML's documentation: power in mW, energy in mJ since the driver was loaded (Volta and
newer), clocks in MHz, throttle reasons as a bit mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_REASONS = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
"""Reasons that slow a busy GPU down; idle (0x1), application clocks (0x2) and sync boost (0x10) are none."""


class Gpu:
    """One GPU. library: the `pynvml` module, or what stands in for it."""

    of = "the GPU (NVML), idle power included, without the host"

    def __init__(self, library: Any) -> None:
        self._nvml = library
        self._handle = library.nvmlDeviceGetHandleByIndex(0)

    def snapshot(self) -> dict[str, Any]:
        """What the GPU tells; None for what it does not support."""
        nvml, handle = self._nvml, self._handle
        power = self._ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        limit = self._ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        mask = self._ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) or 0
        return {
            "clock_mhz": self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
            "memory_clock_mhz": self._ask(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
            "temperature_c": self._ask(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            "power_w": None if power is None else power / 1000,
            "power_limit_w": None if limit is None else limit / 1000,
            "performance_state": self._ask(lambda: nvml.nvmlDeviceGetPerformanceState(handle)),
            "throttle_reasons": [name for bit, name in _REASONS.items() if mask & bit],
        }

    def counts_energy(self) -> bool:
        """True where the GPU has an energy counter."""
        return self._ask(lambda: self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) is not None

    def joules(self) -> float:
        """Joules since the driver was loaded."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except self._nvml.NVMLError:  # not supported by this GPU, or not allowed
            return None


def open_gpu() -> Gpu | None:
    """The first GPU, or None without the library, the driver or a GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return Gpu(pynvml)
    except pynvml.NVMLError:
        return None
