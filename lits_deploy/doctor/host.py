"""Python, system, processor, memory, limits of this process. Called in a child; imports neither numpy nor a runtime."""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import lits_deploy
from lits_deploy import cgroup
from lits_deploy.doctor.check import Check, failed
from lits_deploy.machine import allowed_cores, cores, proc_value, processor
from lits_deploy.revision import git_revision

FLAGS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve"),
)
"""Instructions that networks gain from, in the kernel's names: x86, then 64-bit ARM."""

LITTLE_MEMORY_MIB = 2048
"""Below this much free memory the default of `classify` (a runtime and workers of up to 1 GiB a file) may not fit."""

FEW_FILES = 256
"""`classify` holds three pipes a worker and some files of its own: about 40. Runtimes and torch hold more."""


def checks(stdout: str) -> list[Check]:
    """All rows; one that fails says so, and the others stand. stdout: encoding of the parent's standard output."""
    looks = (_python, _lits_deploy, _system, _processor, _cores, _memory, _shared_memory, _open_files)
    named = {look.__name__[1:].replace("_", " "): look for look in looks} | {"encoding": partial(_encoding, stdout)}
    rows = []
    for name, look in named.items():
        try:
            rows.append(look())
        except Exception as error:  # the row says so
            rows.append(Check(name, "broken", failed(error)))
    return rows


def _python() -> Check:
    own = "in an environment of its own" if sys.prefix != sys.base_prefix else "not in an environment of its own"
    bits = 64 if sys.maxsize > 2**32 else 32
    found = f"{platform.python_version()} ({platform.python_implementation()}, {bits} bit), {own}"
    fix = "install a 64-bit Python: no runtime has 32-bit wheels" if bits == 32 else None
    return Check("python", "broken" if fix else "ok", found, fix)


def _lits_deploy() -> Check:
    """Version and revision; and that `train`, `export` and `benchmarks` are ours, not other packages of such names."""
    root = Path(lits_deploy.__file__).resolve().parent.parent
    revision = git_revision()
    found = f"{lits_deploy.__version__}" + (f", checkout {revision[:12]}" if revision else "")
    specs = {name: importlib.util.find_spec(name) for name in ("train", "export", "benchmarks")}
    origins = {name: Path((spec and spec.origin) or "/").resolve() for name, spec in specs.items()}
    if foreign := [name for name, origin in origins.items() if origin.parent.parent != root]:
        fix = "python -m venv FOLDER, and install lits-deploy into it alone"
        return Check("lits-deploy", "broken", f"{found}; another package hides its {', '.join(foreign)}", fix)
    return Check("lits-deploy", "ok", found, details={"version": lits_deploy.__version__, "revision": revision})


def _system() -> Check:
    name = ""
    with suppress(OSError):
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "") + ", "
    library = " ".join(platform.libc_ver()).strip()
    inside = ", in a container" if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() else ""
    virtual = ", virtual" if "hypervisor" in (proc_value("cpuinfo", "flags") or "").split() else ""
    found = f"{name}{platform.system()} {platform.release()}, {platform.machine()}, {library or 'libc unknown'}"
    return Check("system", "ok", found + inside + virtual)


def _processor() -> Check:
    listed = (proc_value("cpuinfo", "flags") or proc_value("cpuinfo", "Features") or "").split()
    flags = [flag for flag in FLAGS if flag in listed]
    found = f"{processor()}: {' '.join(flags) or 'instructions unknown'}"
    if platform.machine() == "x86_64" and listed and "avx2" not in flags:
        fix = "on a virtual machine: pass the host's processor through; else expect a quarter of the speed"
        return Check("processor", "warning", f"{found}; no AVX2", fix, details={"flags": flags})
    return Check("processor", "ok", found, details={"flags": flags})


def _cores() -> Check:
    allowed, quota, used = allowed_cores(), cgroup.cpu_quota(), cores()
    details = {"allowed": allowed, "machine": os.cpu_count(), "quota": quota, "used": used}
    found = f"{allowed} of {os.cpu_count()} may be used"
    if quota is not None:
        found += f", for the time of {quota:g} (cgroup's quota); threads and decode workers are counted for {used}"
    return Check("cores", "ok", found, details=details)


def _memory() -> Check:
    total, free = (int((proc_value("meminfo", key) or "0").split()[0]) >> 10 for key in ("MemTotal", "MemAvailable"))
    if not total or not free:
        return Check("memory", "warning", "unknown on this system", "check by hand that 2 GiB are free")
    found = f"{total:,} MiB, {free:,} free"
    details: dict[str, object] = {"total_mib": total, "free_mib": free, "limit_mib": None}
    limits = cgroup.memory_limit()
    if limits is not None and limits[0] >> 20 < total:
        details["limit_mib"], left = limits[0] >> 20, max(0, limits[0] - limits[1]) >> 20
        free = min(free, left)
        found += f"; this process's limit is {limits[0] >> 20:,} MiB, {left:,} free"
    if free < LITTLE_MEMORY_MIB:
        fix = "make room, or classify --workers 1 --memory-limit 256 --batch-size 4"
        return Check("memory", "warning", f"{found}: little for a runtime and decode workers", fix, details=details)
    return Check("memory", "ok", found, details=details)


def _shared_memory() -> Check:
    """What the batch buffers lie in: anonymous memory. /dev/shm matters to `train --workers` only."""
    try:
        with os.fdopen(os.memfd_create("lits-deploy-doctor", os.MFD_CLOEXEC), "wb", buffering=0) as stream:
            stream.truncate(1 << 20)
            stream.write(b"\1" * 4096)
    except OSError as error:
        fix = "allow memfd_create in the container's seccomp profile"
        return Check("shared memory", "broken", f"memfd is refused ({error.strerror}): `classify` cannot run", fix)
    found = "memfd works, which is what `classify` uses; it counts as memory"
    try:
        size = shutil.disk_usage("/dev/shm").total >> 20
    except OSError:
        return Check("shared memory", "ok", f"{found}; no /dev/shm (`train --workers` needs it)")
    return Check("shared memory", "ok", f"{found}; /dev/shm {size:,} MiB matters to `train --workers` only")


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Check("open files", "ok", "no limit")
    room = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    fix = f"ulimit -n {room}" if soft < FEW_FILES else None
    return Check("open files", "warning" if fix else "ok", f"{soft:,} at once", fix)


def _encoding(stdout: str) -> Check:
    names = sys.getfilesystemencoding()
    found = f"output {stdout}, file names {names}"
    if {name.lower().replace("-", "").replace("_", "") for name in (stdout, names)} == {"utf8"}:
        return Check("encoding", "ok", found)
    fix = "export PYTHONUTF8=1 LANG=C.UTF-8"
    return Check("encoding", "warning", f"{found}: letters beyond ASCII may print as ?", fix)
