"""`lits-deploy doctor`: what works on this machine, and what to type for the rest.

`examine` looks at runtimes, GPU, machine, folders and libraries, each in a process of its own (`child`), so that a
library that crashes and a network disk that hangs are rows and not the end. It needs no more than Python: numpy and the
runtimes are imported in the children. Nothing it returns names the user or the machine.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lits_deploy.doctor.check import Check, without_names
from lits_deploy.doctor.child import SECONDS, ChildJob, run
from lits_deploy.nvidia import gpu_here, is_jetson
from lits_deploy.printable import printable_values
from lits_deploy.release import __version__

__all__ = ["Check", "DoctorReport", "examine", "jobs"]

BUILD = 4
"""Times as long may TensorRT take on a GPU: it tries kernels out while it builds."""


@dataclass(frozen=True)
class DoctorReport:
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


def examine(out: Path) -> DoctorReport:
    """Look at everything; out: where results would go (need not exist). Takes two seconds on an idle machine."""
    clean = without_names()
    said = ((check, {"found": check.found, "fix": check.fix, "details": check.details}) for check in run(jobs(out)))
    return DoctorReport(tuple(replace(check, **printable_values(texts, clean)) for check, texts in said))


def jobs(out: Path) -> list[ChildJob]:
    """What is looked at, in the order of the rows."""
    cuda = cuda_devices()
    gpus: list[int | None] = [*cuda] or [0 if is_jetson() else None]
    folder = os.path.abspath(out)  # noqa: PTH100 - without asking the disk, which may hang
    out_fix = "--out on another disk: this one does not answer"
    cache_fix, temporary_fix = (f"export {name}=FOLDER on another disk" for name in ("XDG_CACHE_HOME", "TMPDIR"))

    def runtime(name: str, device: str) -> ChildJob:
        fix = f"pip install --upgrade --force-reinstall --no-deps {name}, or another version of it"
        asked = {"runtime": name, "device": device}
        return ChildJob("runtimes", f"{name} on {device}", f"{__name__}.runtimes:try_runtime", fix, asked)

    def tensorrt(flavour: str, gpu: int | None) -> ChildJob:
        name, seconds = (flavour, SECONDS) if gpu is None else (f"{flavour} on cuda:{gpu}", BUILD * SECONDS)
        fix = "nvidia-smi by hand, then another version of TensorRT: its driver may be too old for it"
        asked = {"flavour": flavour, "device": gpu}
        return ChildJob("runtimes", name, f"{__name__}.trt:try_flavour", fix, asked, seconds)

    return [
        *(runtime("onnxruntime", device) for device in ("cpu", *(f"cuda:{k}" for k in cuda))),
        runtime("openvino", "cpu"),
        ChildJob("runtimes", "one onnxruntime", f"{__name__}.runtimes:one_onnxruntime"),
        *(tensorrt(flavour, k) for flavour in ("tensorrt", "rtx") for k in gpus),
        ChildJob("gpu", "gpu", f"{__name__}.gpu:gpus", "nvidia-smi by hand; where it hangs too, reboot"),
        ChildJob(
            "machine", "machine", f"{__name__}.host:checks", arguments={"stdout": sys.stdout.encoding or "unknown"}
        ),
        ChildJob("folders", "output", f"{__name__}.folders:out_folder", out_fix, {"folder": folder}),
        ChildJob("folders", "cache", f"{__name__}.folders:cache_folder", cache_fix),
        ChildJob("folders", "temporary files", f"{__name__}.folders:temporary_folder", temporary_fix),
        ChildJob("libraries", "libraries", f"{__name__}.libraries:checks"),
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
        usable = next((k for k, name in enumerate(names) if name in ("", "-1")), len(names))
        count = min(count, usable)
    return list(range(count))
