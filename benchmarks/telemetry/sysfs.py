"""Clocks, temperatures, throttle counters and RAPL energy from Linux's files. `root` stands for `/` in tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def snapshot(root: Path = Path("/")) -> dict[str, Any]:
    """cpu_mhz: of each core; temperatures_c: by zone; cpu_throttles: events since the machine started."""
    return {
        "cpu_mhz": _clocks(root) or None,
        "temperatures_c": dict(_temperatures(root)) or None,
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


def _clocks(root: Path) -> list[float]:
    cores = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    found = [value / 1000 for path in cores if (value := _number(path)) is not None]
    if found:
        return found
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]


def _temperatures(root: Path) -> Iterator[tuple[str, float]]:
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value = _number(zone / "temp")
        if value is not None and value > 0:  # a zone that is asleep says 0 or less
            yield f"{zone.name} {_text(zone / 'type') or ''}".strip(), value / 1000
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        for path in sorted(monitor.glob("temp*_input")):
            value = _number(path)
            if value is not None and value > 0:
                label = _text(path.with_name(path.name.replace("_input", "_label"))) or path.name.partition("_")[0]
                yield f"{_text(monitor / 'name') or monitor.name} {label}", value / 1000


def _throttles(root: Path) -> int | None:
    paths = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [value for path in paths if (value := _number(path)) is not None]
    return sum(counts) if counts else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
