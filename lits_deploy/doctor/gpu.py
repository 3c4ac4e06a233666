"""NVIDIA GPUs, their driver, CUDA version, power limit and persistence; the power mode of a Jetson. Called in a child.

`nvidia-smi` is asked first. Where there is none (older Jetsons, containers without the utility part) the driver's own
library, libcuda, is asked for names, memory and compute capability. Serial numbers, UUIDs and bus addresses are never
asked for. None of it has been seen by this project on a Jetson.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from lits_deploy.doctor.check import Check, first_line
from lits_deploy.nvidia import gpu_here, is_jetson

FIELDS = (
    *("index", "name", "memory.total", "memory.free", "driver_version"),
    *("persistence_mode", "power.limit", "power.default_limit", "compute_cap"),
)
"""Asked of nvidia-smi; compute_cap is last because drivers before 510 do not know it and refuse the whole query."""

_SMI_S, _NVPMODEL_S = 8.0, 4.0
_RUN: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace"}
_NOT_KNOWN = {"", "[n/a]", "n/a", "[not supported]", "[unknown error]", "[insufficient permissions]"}


def gpus() -> list[Check]:
    """Rows for the driver, each GPU and its power; one row where there is none."""
    rows = _jetson() if is_jetson() else []
    smi = shutil.which("nvidia-smi")
    if smi is not None and gpu_here():
        try:
            return rows + _rows(query(smi), cuda_of_smi(smi))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            said = error.stdout or error.stderr if isinstance(error, subprocess.CalledProcessError) else error
            fix = "reboot, or install the driver again: its kernel module and its tools must be of one version"
            rows.append(Check("nvidia-smi", "broken", f"does not answer: {first_line(said)}", fix))
    if gpu_here() or is_jetson():
        try:
            return rows + _rows(*query_libcuda())
        except (OSError, AttributeError, RuntimeError) as error:
            fix = "install an NVIDIA driver that fits the kernel; in a container: docker run --gpus all"
            return [*rows, Check("driver", "broken", f"libcuda does not answer: {first_line(error)}", fix)]
    return [*rows, _none()]


def query(smi: str) -> list[dict[str, str]]:
    """What nvidia-smi says of each GPU, by the names of FIELDS; values it does not know are left out."""
    fields: tuple[str, ...] = FIELDS
    try:
        text = _smi(smi, fields)
    except subprocess.CalledProcessError:
        text = _smi(smi, fields := FIELDS[:-1])
    rows = ([value.strip() for value in line.split(",")] for line in text.splitlines())
    named = (dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields))
    return [{field: value for field, value in gpu.items() if value.lower() not in _NOT_KNOWN} for gpu in named]


def cuda_of_smi(smi: str) -> str | None:
    """The newest CUDA the driver can run, from the head of nvidia-smi's table; None where it does not say."""
    text = subprocess.run([smi], **_RUN, timeout=_SMI_S).stdout
    match = re.search(r"CUDA(?: UMD)? Version\s*:\s*([\d.]+)", text)
    return match[1] if match else None


def query_libcuda() -> tuple[list[dict[str, str]], str | None]:
    """The same from libcuda, as far as it knows; OSError where it is not there, RuntimeError where it fails."""
    cuda = ctypes.CDLL("libcuda.so.1")

    def call(function: str, *arguments: Any) -> None:
        if code := getattr(cuda, function)(*arguments):
            raise RuntimeError(f"{function} returned {code}")

    number, version = ctypes.c_int(), ctypes.c_int()
    call("cuInit", 0)
    call("cuDriverGetVersion", ctypes.byref(version))
    call("cuDeviceGetCount", ctypes.byref(number))
    module = re.search(r"\s(\d{3}\.[\d.]+)\s", _text(Path("/proc/driver/nvidia/version")))
    found = []
    for index in range(number.value):
        name, size, major, minor = ctypes.create_string_buffer(256), ctypes.c_size_t(), ctypes.c_int(), ctypes.c_int()
        call("cuDeviceGetName", name, 256, index)
        call("cuDeviceTotalMem_v2", ctypes.byref(size), index)
        call("cuDeviceGetAttribute", ctypes.byref(major), 75, index)  # compute capability, before and
        call("cuDeviceGetAttribute", ctypes.byref(minor), 76, index)  # after the point
        gpu = {"index": str(index), "name": name.value.decode(errors="replace"), "memory.total": str(size.value >> 20)}
        gpu |= {"compute_cap": f"{major.value}.{minor.value}"} | ({"driver_version": module[1]} if module else {})
        found.append(gpu)
    return found, f"{version.value // 1000}.{version.value % 1000 // 10}"


def _smi(smi: str, fields: tuple[str, ...]) -> str:
    command = [smi, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    return str(subprocess.run(command, **_RUN, timeout=_SMI_S, check=True).stdout)


def _rows(found: list[dict[str, str]], cuda: str | None) -> list[Check]:
    if not found:
        fix = "check the cable or slot, and dmesg for NVRM lines; in a container: docker run --gpus all"
        return [Check("driver", "broken", "the driver is loaded and sees no GPU", fix)]
    driver = found[0].get("driver_version")
    text = f"NVIDIA {driver or 'of unknown version'}, runs CUDA up to {cuda or 'unknown'}"
    rows = [Check("driver", "ok", text, details={"driver": driver, "cuda": cuda})]
    for gpu in found:
        name = f"gpu {gpu.get('index', '?')}"
        memory = f", {int(gpu['memory.total']):,} MiB" if gpu.get("memory.total", "").isdigit() else ""
        memory += f" ({int(gpu['memory.free']):,} free)" if memory and gpu.get("memory.free", "").isdigit() else ""
        capability = f", compute capability {gpu['compute_cap']}" if "compute_cap" in gpu else ""
        rows.append(Check(name, "ok", f"{gpu.get('name', 'unnamed')}{memory}{capability}", details=gpu))
        rows += _power(name, gpu)
    return rows


def _power(name: str, gpu: dict[str, str]) -> list[Check]:
    parts, fixes = [], []
    watts = (gpu.get(key, "") for key in ("power.limit", "power.default_limit"))
    limit, default = (float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None for text in watts)
    if limit is not None:
        parts.append(f"limit {limit:g} W" + (f" of {default:g} W" if default is not None else ""))
        if default is not None and limit < default - 0.5:
            fixes.append(f"sudo nvidia-smi -i {gpu.get('index', 0)} -pl {default:g}")
    if persistence := gpu.get("persistence_mode"):
        parts.append(f"persistence {'on' if persistence == 'Enabled' else 'off: the first call after a pause is slow'}")
        if persistence != "Enabled":
            fixes.append(f"sudo nvidia-smi -i {gpu.get('index', 0)} -pm 1")
    row = Check(f"{name} power", "warning" if fixes else "ok", ", ".join(parts), " && ".join(fixes) or None)
    return [row] if parts else []


def _jetson() -> list[Check]:
    release = _text(Path("/etc/nv_tegra_release")).partition("\n")[0].lstrip("# ")
    match = re.match(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", release)
    linux = f"Jetson Linux {match[1]}.{match[2]}" if match else release or "Jetson Linux, unknown release"
    board = _text(Path("/proc/device-tree/model")) or "unknown board"
    rows = [Check("jetson", "ok", f"{board}, {linux}", details={"board": board, "linux": linux})]
    nvpmodel = shutil.which("nvpmodel") or "/usr/sbin/nvpmodel"
    return [*rows, _power_mode(nvpmodel)]


def _power_mode(nvpmodel: str) -> Check:
    mode = partial(Check, "power mode")
    if not os.access(nvpmodel, os.X_OK):
        return mode("missing", "nvpmodel is not here (as in a container): ask on the board itself")
    try:
        done = subprocess.run([nvpmodel, "-q"], **_RUN, timeout=_NVPMODEL_S)
    except (OSError, subprocess.SubprocessError) as error:
        return mode("broken", f"nvpmodel does not answer: {first_line(error)}", "sudo nvpmodel -q")
    match = re.search(r"NV Power Mode:\s*(\S+)", done.stdout)
    if match is None:
        said = first_line(done.stdout or done.stderr or "nothing")
        return mode("warning", f"nvpmodel does not say: {said}", "sudo nvpmodel -q")
    if match[1].upper().startswith("MAXN"):
        return mode("ok", match[1])
    fix = "sudo nvpmodel -m ID, with the ID of MAXN in /etc/nvpmodel.conf, where power and cooling allow it"
    return mode("warning", f"{match[1]}: clocks and cores are limited", fix)


def _none() -> Check:
    """Why there is no GPU: the driver may be missing, or kept from a container."""
    if Path("/proc/driver/nvidia/version").exists():
        fix = "docker run --gpus all (with NVIDIA's container toolkit on the host)"
        return Check("gpu", "broken", "the host has an NVIDIA driver, and this container was given no GPU", fix)
    displays = (path for path in Path("/sys/bus/pci/devices").glob("*") if _text(path / "class").startswith("0x03"))
    if any(_text(path / "vendor") == "0x10de" for path in displays):  # of PCI class 03, 3D controllers too
        fix = "sudo ubuntu-drivers install (or the driver from nvidia.com), and reboot"
        return Check("gpu", "broken", "an NVIDIA GPU is in the machine, and its driver is not loaded", fix)
    return Check("gpu", "missing", "no NVIDIA GPU: everything runs on the CPU")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""
