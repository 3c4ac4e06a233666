"""`lits-deploy doctor`: what works on this machine, and what to type for the rest.

`examine` looks at runtimes, GPU, machine, folders and libraries, each in a process of its own (`child`), so that a
library that crashes and a network disk that hangs are rows and not the end. It needs no more than Python: numpy and the
runtimes are imported in the children. Nothing it returns names the user or the machine.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lits_deploy import __version__
from lits_deploy.doctor.check import Check, Private, Section, is_jetson
from lits_deploy.doctor.child import Job, run
from lits_deploy.nvidia import gpu_here

__all__ = ["SECONDS", "Check", "Report", "examine", "jobs"]

SECONDS = 30.0
"""Longest that one check may take: importing CUDA from a cold disk of an edge box takes ten."""

BUILD = 4
"""Times as long may TensorRT take on a GPU: it tries kernels out while it builds."""


@dataclass(frozen=True)
class Report:
    """All rows, without names of users and machines."""

    checks: tuple[Check, ...]

    @property
    def working(self) -> list[str]:
        """Names of the rows in which a runtime gave the right answer."""
        return [check.name for check in self.checks if check.works]

    def to_json(self) -> dict[str, Any]:
        """For `--json`: lits_deploy (version), working (list), checks."""
        checks = [check.to_json() for check in self.checks]
        return {"lits_deploy": __version__, "working": self.working, "checks": checks}


def examine(out: Path, *, seconds: float = SECONDS) -> Report:
    """Look at everything; out: where results would go (need not exist). Takes two seconds on an idle machine."""
    return Report(tuple(map(Private().check, run(jobs(out, seconds=seconds)))))


def jobs(out: Path, *, seconds: float = SECONDS) -> Sequence[Job]:
    """What is looked at, in the order of the rows; the slow ones start first."""
    gpus: list[int | None] = [*cuda_devices()] or [0 if is_jetson() else None]
    devices = [("onnxruntime", "cpu"), *(("onnxruntime", f"cuda:{k}") for k in cuda_devices()), ("openvino", "cpu")]
    folder = os.path.abspath(out)  # noqa: PTH100 - without asking the disk, which may hang
    out_fix = "--out on another disk: this one does not answer"
    gpu_fix = "nvidia-smi by hand; where it hangs too, reboot"
    trt_fix = "nvidia-smi by hand, then another version of TensorRT: its driver may be too old for it"

    def job(section: Section, name: str, function: str, fix: str | None = None, **arguments: Any) -> Job:
        function = f"{__name__}.{function}"
        return Job(section=section, name=name, function=function, arguments=arguments, fix=fix, seconds=seconds)

    found = []
    for runtime, device in devices:
        fix = f"pip install --upgrade --force-reinstall --no-deps {runtime}, or another version of it"
        name = f"{runtime} on {device}"
        found.append(job("runtimes", name, "runtimes:try_runtime", fix, runtime=runtime, device=device))
    found.append(job("runtimes", "one onnxruntime", "runtimes:one_onnxruntime"))
    for flavour in ("tensorrt", "rtx"):
        for gpu in gpus:
            name = flavour if gpu is None else f"{flavour} on cuda:{gpu}"
            tried = job("runtimes", name, "trt:try_flavour", trt_fix, flavour=flavour, device=gpu)
            found.append(tried if gpu is None else replace(tried, seconds=BUILD * seconds))
    return [
        *found,
        job("gpu", "gpu", "gpu:gpus", gpu_fix),
        job("machine", "machine", "host:checks", stdout_encoding=sys.stdout.encoding or "unknown"),
        job("folders", "output", "folders:out_folder", out_fix, folder=folder),
        job("folders", "cache", "folders:cache_folder", "export XDG_CACHE_HOME=FOLDER on another disk"),
        job("folders", "temporary files", "folders:temporary_folder", "export TMPDIR=FOLDER on another disk"),
        job("libraries", "libraries", "libraries:checks"),
    ]


def cuda_devices() -> list[int]:
    """Numbers of the CUDA devices that programs see here; none without an NVIDIA driver.

    Counted from device files, so that nothing of CUDA is loaded in this process.
    """
    if not gpu_here():
        return []
    files = [name for name in os.listdir("/dev") if re.fullmatch(r"nvidia\d+", name)]  # noqa: PTH208 - names
    count = len(files) or int(is_jetson())
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in chosen.split(",")]
        usable = names[: next((k for k, name in enumerate(names) if name in ("", "-1")), len(names))]
        count = min(count, len(usable)) if count else 0
    return list(range(count))
