"""Readers on recorded text: sysfs files, NVML's answers, tegrastats' lines. No such device is needed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from benchmarks import telemetry as readers
from benchmarks.telemetry import Telemetry, tegrastats, throttled

ORIN = (
    "11-24-2026 09:14:02 RAM 5218/7620MB (lfb 3x4MB) SWAP 12/3810MB (cached 0MB) CPU [61%@1510,58%@1510,off,off,3%@729,"
    "0%@729] EMC_FREQ 12%@2133 GR3D_FREQ 61%@[611] NVDEC off VIC_FREQ 115 APE 200 cpu@51.2C soc2@49.4C gpu@50.1C "
    "tj@51.2C VDD_IN 9532mW/8911mW VDD_CPU_GPU_CV 3891mW/3312mW VDD_SOC 1712mW/1698mW"
)
NANO = (
    "RAM 2462/3964MB (lfb 2x2MB) CPU [22%@1428,15%@1428,20%@1428,24%@1428] EMC_FREQ 0% GR3D_FREQ 99% PLL@41C CPU@44C "
    "PMIC@100C GPU@43.5C thermal@43.75C POM_5V_IN 5410/3120 POM_5V_GPU 2010/811 POM_5V_CPU 880/706"
)


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_clocks_temperatures_and_throttles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for core in (0, 1):
        write(tmp_path, f"sys/devices/system/cpu/cpu{core}/thermal_throttle/core_throttle_count", "2\n")
    clocks = [SimpleNamespace(current=clock) for clock in (2600.0, 3100.0)]
    monkeypatch.setattr(psutil, "cpu_freq", lambda percpu: clocks)
    zones = {
        "k10temp": [SimpleNamespace(label="Tctl", current=51.25)],
        "acpitz": [SimpleNamespace(label="", current=-256.0), SimpleNamespace(label="", current=47.5)],  # one is asleep
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: zones)
    assert readers.of_system(tmp_path) == {
        "cpu_mhz": [2600.0, 3100.0],
        "temperatures_c": {"k10temp Tctl": 51.25, "acpitz 2": 47.5},
        "cpu_throttles": 4,
    }


def test_what_nobody_tells_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert readers.of_system(tmp_path) == {"cpu_mhz": None, "temperatures_c": None, "cpu_throttles": None}
    assert readers.Rapl.find(tmp_path) is None


def test_rapl_adds_packages_and_survives_a_counter_that_starts_anew(tmp_path: Path) -> None:
    base = "sys/class/powercap/intel-rapl:"
    for package, energy in (("0", 900), ("1", 100)):
        write(tmp_path, f"{base}{package}/energy_uj", str(energy * 10**6))
        write(tmp_path, f"{base}{package}/max_energy_range_uj", str(1000 * 10**6))
    write(tmp_path, f"{base}0:0/energy_uj", "5")  # a part of package 0, counted there already
    meter = readers.Rapl.find(tmp_path)
    assert meter is not None
    assert meter.joules() == 0.0
    write(tmp_path, f"{base}0/energy_uj", str(50 * 10**6))  # 900 → 1000 = 0 → 50
    write(tmp_path, f"{base}1/energy_uj", str(130 * 10**6))
    assert meter.joules() == pytest.approx(150 + 30)
    telemetry = Telemetry(tmp_path)
    assert telemetry.meter("cpu") is not None
    assert telemetry.meter("cuda:0") is None


class FakeNvml(SimpleNamespace):
    """The functions that are used, with a GPU that has no fan and no limit to tell."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"gpu {index}"

    def nvmlDeviceGetPowerUsage(self, _: str) -> int:  # noqa: N802
        return 61_250

    def nvmlDeviceGetEnforcedPowerLimit(self, _: str) -> int:  # noqa: N802
        raise self.NVMLError

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _: str) -> int:  # noqa: N802
        return 0x1 | 0x4 | 0x40

    def nvmlDeviceGetClockInfo(self, _: str, which: int) -> int:  # noqa: N802
        return {1: 1590, 2: 5001}[which]

    def nvmlDeviceGetTemperature(self, _: str, __: int) -> int:  # noqa: N802
        return 63

    def nvmlDeviceGetPerformanceState(self, _: str) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, _: str) -> int:  # noqa: N802
        return 123_500


def test_nvml_units_and_what_is_not_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = readers.GpuMeter(FakeNvml())
    assert gpu.snapshot() == {
        "clock_mhz": 1590,
        "memory_clock_mhz": 5001,
        "temperature_c": 63,
        "power_w": 61.25,
        "power_limit_w": None,
        "performance_state": 0,
        "throttle_reasons": ["software power cap", "hardware thermal slowdown"],
    }
    assert gpu.counts_energy()
    assert gpu.joules() == 123.5
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    assert readers.open_gpu() is not None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert readers.open_gpu() is None


def test_tegrastats_lines_of_two_generations() -> None:
    orin = tegrastats.parse(ORIN)
    assert orin["power_w"] == {"VDD_IN": 9.532, "VDD_CPU_GPU_CV": 3.891, "VDD_SOC": 1.712}
    assert orin["temperatures_c"] == {"cpu": 51.2, "soc2": 49.4, "gpu": 50.1, "tj": 51.2}
    assert (orin["gpu_load_percent"], orin["gpu_mhz"], orin["cpu_mhz"]) == (61, 611, [1510, 1510, 729, 729])
    assert tegrastats.module_watts(orin) == 9.532
    nano = tegrastats.parse(NANO)
    assert tegrastats.module_watts(nano) == 5.41
    assert (nano["gpu_load_percent"], nano["gpu_mhz"]) == (99, None)
    assert tegrastats.module_watts(tegrastats.parse("RAM 1/2MB SWAP 0/0MB")) is None


def test_power_is_added_up_over_time() -> None:
    meter = tegrastats.Tegrastats(("true",))
    for moment, milliwatts in ((100.0, 10_000), (102.0, 20_000), (103.0, 0)):
        meter.take(f"VDD_IN {milliwatts}mW/0mW", moment)
    assert meter.joules() == pytest.approx(2 * 10 + 1 * 20)
    assert meter.latest is not None


def test_the_program_is_read_to_its_end() -> None:
    with tegrastats.Tegrastats((sys.executable, "-c", f"print({ORIN!r})")) as meter:
        meter._process.wait(timeout=20)
        meter._thread.join(timeout=20)
        assert meter.latest == tegrastats.parse(ORIN)


def test_power_mode() -> None:
    assert tegrastats.parse_power_mode("NV Power Mode: MAXN_SUPER\n2\n") == "MAXN_SUPER (2)"
    assert tegrastats.parse_power_mode("NVPM ERROR: no permission") is None


def test_throttling_between_two_snapshots() -> None:
    calm: dict[str, Any] = {"cpu_throttles": 3, "gpu": {"throttle_reasons": []}}
    assert throttled(calm, calm) == []
    assert throttled(calm, {"cpu_throttles": 5, "gpu": {"throttle_reasons": ["software power cap"]}}) == [
        "the processor throttled 2 times",
        "the GPU reported: software power cap",
    ]
    assert throttled({"cpu_throttles": None, "gpu": None}, {"cpu_throttles": None, "gpu": None}) == []


def test_this_machine_tells_what_it_can() -> None:
    with Telemetry() as telemetry:
        values = telemetry.snapshot()
    assert {"cpu_mhz", "temperatures_c", "cpu_throttles", "gpu", "jetson", "power_mode"} == set(values)
