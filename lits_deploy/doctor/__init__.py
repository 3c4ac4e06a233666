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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy import __version__
from lits_deploy.doctor.check import Check, Private, has_nvidia_driver, is_jetson
from lits_deploy.doctor.child import Job, run

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
    return Report(tuple(Private().checks(run(jobs(out, seconds=seconds)))))


def jobs(out: Path, *, seconds: float = SECONDS) -> Sequence[Job]:
    """What is looked at, in the order of the rows; the slow ones start first."""
    here = "lits_deploy.doctor"
    gpus: list[int | None] = [*cuda_devices()] or [0 if is_jetson() else None]
    devices = [("onnxruntime", "cpu"), *(("onnxruntime", f"cuda:{k}") for k in cuda_devices()), ("openvino", "cpu")]
    return [
        *(
            Job(
                section="runtimes",
                name=f"{runtime} on {device}",
                function=f"{here}.runtimes:try_runtime",
                arguments={"runtime": runtime, "device": device},
                fix=f"pip install --upgrade --force-reinstall --no-deps {runtime}, or another version of it",
                seconds=seconds,
            )
            for runtime, device in devices
        ),
        Job(section="runtimes", name="one onnxruntime", function=f"{here}.runtimes:one_onnxruntime", seconds=seconds),
        *(
            Job(
                section="runtimes",
                name=flavour if device is None else f"{flavour} on cuda:{device}",
                function=f"{here}.trt:try_flavour",
                arguments={"flavour": flavour, "device": device},
                fix="nvidia-smi by hand, then another version of TensorRT: its driver may be too old for it",
                seconds=seconds if device is None else BUILD * seconds,
            )
            for flavour in ("tensorrt", "rtx")
            for device in gpus
        ),
        Job(
            section="gpu", name="gpu", function=f"{here}.gpu:gpus", seconds=seconds,
            fix="nvidia-smi by hand; where it hangs too, reboot",
        ),
        Job(
            section="machine", name="machine", function=f"{here}.host:checks", seconds=seconds,
            arguments={"stdout_encoding": sys.stdout.encoding or "unknown"},
        ),
        Job(
            section="folders", name="output", function=f"{here}.folders:out_folder", seconds=seconds,
            arguments={"folder": os.path.abspath(out)},  # noqa: PTH100 - without asking the disk, which may hang
            fix="--out on another disk: this one does not answer",
        ),
        Job(
            section="folders", name="cache", function=f"{here}.folders:cache_folder", seconds=seconds,
            fix="export XDG_CACHE_HOME=FOLDER on another disk",
        ),
        Job(
            section="folders", name="temporary files", function=f"{here}.folders:temporary_folder", seconds=seconds,
            fix="export TMPDIR=FOLDER on another disk",
        ),
        Job(section="libraries", name="libraries", function=f"{here}.libraries:checks", seconds=seconds),
    ]  # fmt: skip


def cuda_devices() -> list[int]:
    """Numbers of the CUDA devices that programs see here; none without an NVIDIA driver.

    Counted from device files, so that nothing of CUDA is loaded in this process.
    """
    if not has_nvidia_driver():
        return []
    files = [name for name in os.listdir("/dev") if re.fullmatch(r"nvidia\d+", name)]  # noqa: PTH208 - names
    count = len(files) or int(is_jetson())
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in chosen.split(",")]
        usable = names[: next((k for k, name in enumerate(names) if name in ("", "-1")), len(names))]
        count = min(count, len(usable)) if count else 0
    return list(range(count))
