"""Clocks and temperatures (by psutil), throttle counters and RAPL energy. `root` stands for `/` in tests."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any


def snapshot(root: Path = Path("/")) -> dict[str, Any]:
    """cpu_mhz: of each core; temperatures_c: by sensor; cpu_throttles: events since the machine started."""
    return {
        "cpu_mhz": _clocks() or None,
        "temperatures_c": _temperatures() or None,
        "cpu_throttles": _throttles(root),
    }


class Rapl:
    """The processor packages' energy counters (Intel's RAPL interface, which AMD processors have too).

    A counter starts anew at its range; one turn between two readings is allowed for. Often readable by root only.
    """

    of = "processor packages (RAPL), idle power included"

    def __init__(self, zones: list[Path]) -> None:
        self._zones = zones
        self._ranges = [_number(zone / "max_energy_range_uj") or 0 for zone in zones]
        self._last = [self._read(zone) for zone in zones]
        self._microjoules = 0

    @classmethod
    def find(cls, root: Path = Path("/")) -> Rapl | None:
        """The packages' counters, or None where there are none that may be read."""
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*"))
        zones = [zone for zone in zones if zone.name.count(":") == 1 and _number(zone / "energy_uj") is not None]
        return cls(zones) if zones else None

    def joules(self) -> float:
        """Joules of all packages since the meter was made."""
        for index, zone in enumerate(self._zones):
            now = self._read(zone)
            step = now - self._last[index]
            self._microjoules += step if step >= 0 else step + self._ranges[index]
            self._last[index] = now
        return self._microjoules / 1e6

    def _read(self, zone: Path) -> int:
        return _number(zone / "energy_uj") or 0


def _clocks() -> list[float]:
    with suppress(ImportError):
        import psutil

        return [core.current for core in psutil.cpu_freq(percpu=True)]
    return []


def _temperatures() -> dict[str, float]:
    with suppress(ImportError):
        import psutil

        return {
            f"{name} {one.label or place}": one.current
            for name, sensors in psutil.sensors_temperatures().items()
            for place, one in enumerate(sensors, start=1)
            if one.current > 0  # a zone that is asleep says 0 or less
        }
    return {}


def _throttles(root: Path) -> int | None:
    paths = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [value for path in paths if (value := _number(path)) is not None]
    return sum(counts) if counts else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
