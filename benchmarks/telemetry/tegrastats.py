"""A Jetson's readings: the lines of NVIDIA's `tegrastats`, and the power mode that `nvpmodel` tells.

A line of an Orin holds, among others, `GR3D_FREQ 61%`, `cpu@48.5C` and `VDD_IN 9532mW/8911mW` (now/average); older
modules say `POM_5V_IN 2610/2610`. Never run on a Jetson yet: tested on lines from NVIDIA's documentation.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from contextlib import suppress
from time import monotonic
from typing import IO, Any

INTERVAL_MS = 200

_WHOLE_MODULE = ("VDD_IN", "POM_5V_IN", "SYS5V", "VIN_SYS_5V0")
"""Rails that feed the whole module, the first that a line has."""

_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]+) (\d+)(?:mW)?/(\d+)(?:mW)?(?= |$)")
_TEMPERATURE = re.compile(r"\b([A-Za-z0-9_]+)@(-?\d+(?:\.\d+)?)C\b")
_LOAD = re.compile(r"\bGR3D_FREQ (\d+)%(?:@\[?(\d+))?")
_CPUS = re.compile(r"\bCPU \[([^\]]*)\]")


def parse(line: str) -> dict[str, Any]:
    """power_w: by rail; temperatures_c; gpu_load_percent, gpu_mhz; cpu_mhz: of the cores that are on."""
    rails = {name: int(now) / 1000 for name, now, _ in _RAIL.findall(line) if name not in ("RAM", "SWAP", "IRAM")}
    load, cpus = _LOAD.search(line), _CPUS.search(line)
    clocks = [int(part.partition("@")[2]) for part in (cpus[1].split(",") if cpus else []) if "@" in part]
    return {
        "power_w": rails or None,
        "temperatures_c": {name: float(value) for name, value in _TEMPERATURE.findall(line)} or None,
        "gpu_load_percent": int(load[1]) if load else None,
        "gpu_mhz": int(load[2]) if load and load[2] else None,
        "cpu_mhz": clocks or None,
    }


def module_watts(values: dict[str, Any]) -> float | None:
    """Power of the whole module, from what `parse` found."""
    rails = values["power_w"] or {}
    return next((rails[name] for name in _WHOLE_MODULE if name in rails), None)


def installed() -> bool:
    """True on a Jetson."""
    return shutil.which("tegrastats") is not None


def parse_power_mode(text: str) -> str | None:
    """`NV Power Mode: MAXN` and the number below it → `MAXN (0)`."""
    name = re.search(r"NV Power Mode:\s*(\S.*)", text)
    number = re.search(r"^\s*(\d+)\s*$", text, re.MULTILINE)
    return None if name is None else name[1].strip() + (f" ({number[1]})" if number else "")


def power_mode() -> str | None:
    """What `nvpmodel -q` says; None where it is not there or may not be asked."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=10, check=False)
        return parse_power_mode(done.stdout)
    return None


class Tegrastats:
    """Runs `tegrastats` and adds its power up over time. Use as a context manager. latest: the last line's values."""

    of = "the whole module (tegrastats), idle power included"

    def __init__(self, command: tuple[str, ...] = ("tegrastats", "--interval", str(INTERVAL_MS))) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._joules, self._watts, self._at = 0.0, 0.0, monotonic()
        self.latest: dict[str, Any] | None = None

    def __enter__(self) -> Tegrastats:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, errors="replace")
        assert self._process.stdout is not None
        self._thread = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)
        self._thread.join(timeout=10)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def joules(self) -> float:
        """Joules since the program started; between two lines, at the last line's power."""
        with self._lock:
            return self._joules + self._watts * (monotonic() - self._at)

    def take(self, line: str, now: float) -> None:
        """One line, read at `now` (monotonic seconds)."""
        values = parse(line)
        watts = module_watts(values)
        with self._lock:
            self._joules += self._watts * (now - self._at)
            self._watts, self._at = (self._watts if watts is None else watts), now
            self.latest = values

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self.take(line, monotonic())
