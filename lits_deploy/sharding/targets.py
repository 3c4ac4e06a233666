"""Which devices of this machine a run is spread over, and which cores each has.

    all              every GPU of one model that works here; without one the CPU
    cuda:0,cuda:1    these GPUs
    cpu:2            two processes, each on its half of the cores

Children on a CPU are put on cores of their own, so that their threads do not push each other aside; so are the decode
workers of those on GPUs.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lits_deploy import machine, nvidia
from lits_deploy.backends import resolve
from lits_deploy.errors import DeviceError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.printable import printable

MOST = 64
"""Children of one command."""

_TOPOLOGY = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, kw_only=True)
class Room:
    """For one worker. device: as `--device` takes it; threads: of the network on a CPU; workers: decode processes, None
    for the default."""

    device: str
    threads: int = 0
    workers: int | None = None

    def options(self, options: ClassifyOptions) -> ClassifyOptions:
        """The options of the worker there; threads and decode processes that the user asked for stay."""
        return replace(
            options,
            device=self.device,
            threads=options.threads or self.threads,
            workers=options.workers or self.workers,
            tune=False,
        )


@dataclass(frozen=True, kw_only=True)
class Target(Room):
    """Where a worker of this machine computes. name: of the worker; cores: of its own, empty: all."""

    name: str
    cores: tuple[int, ...] = ()


def targets(text: str, *, runtime: str = "auto") -> list[Target]:
    """What `--devices` says. Raises DeviceError for anything else, or where `all` meets none that works."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    if names == ["all"]:
        names = _all(runtime)
    if len(names) == 1 and (match := re.fullmatch(r"cpu(?::(\d+))?", names[0])):
        count = int(match[1] or 1)
        if not 1 <= count <= MOST:
            raise DeviceError(f"`cpu:{count}` is out of range.", fix=f"--devices cpu:1 … cpu:{MOST}")
        return _shared([(f"cpu:{number}" if count > 1 else "cpu", "cpu") for number in range(count)])
    if not names or not all(re.fullmatch(r"cuda:\d+", name) for name in names):
        raise DeviceError(f"`{text}` names no devices of one kind.", fix="--devices all, cpu:2 or cuda:0,cuda:1")
    if len({nvidia.gpu_name(int(name[5:])) for name in names}) > 1:
        raise DeviceError(
            f"`{text}` names GPUs of several models.", fix="name those of one; their answers might differ"
        )
    if len(set(names)) < len(names):
        raise DeviceError(f"`{text}` names a device twice.", fix="name each once")
    return _shared([(name, name) for name in names])


def _all(runtime: str) -> list[str]:
    _, device = resolve(runtime, "auto")
    if device.kind == "cpu":
        return ["cpu:1"]
    working = [index for index in range(nvidia.count()) if nvidia.memory_trouble(index) is None] or [0]
    models = Counter(nvidia.gpu_name(index) for index in working)
    most = max(models, key=lambda name: models[name])  # the first of equals
    for index in working:
        if nvidia.gpu_name(index) != most:
            line = f"note: cuda:{index} is no {most}, as most GPUs here are: `all` leaves it out, answers might differ"
            logging.getLogger(__name__).warning(printable(line))
    return [f"cuda:{index}" for index in working if nvidia.gpu_name(index) == most]


def _shared(named: Sequence[tuple[str, str]]) -> list[Target]:
    """Places that share the cores between them."""
    if len(named) == 1:
        return [Target(name=name, device=device) for name, device in named]
    allowed, usable = _cores_by_socket(), machine.cores()
    if usable < len(allowed):  # a quota of time, not of cores: whoever comes to run may run on any
        share = max(1, usable // len(named))
        workers = max(1, min(4, share - 1))
        return [Target(name=name, device=device, threads=share, workers=workers) for name, device in named]
    return [
        Target(name=name, device=device, cores=_part(allowed, number, len(named)))
        for number, (name, device) in enumerate(named)
    ]


def _part(cores: Sequence[int], number: int, of: int) -> tuple[int, ...]:
    first, last = number * len(cores) // of, (number + 1) * len(cores) // of
    return tuple(cores[first:last]) or (cores[number % len(cores)],)


def _cores_by_socket() -> list[int]:
    """The cores that this process may use, those that share caches beside each other."""

    def key(core: int) -> tuple[int, int, int]:
        try:
            folder = _TOPOLOGY / f"cpu{core}" / "topology"
            package, own = (int((folder / name).read_text()) for name in ("physical_package_id", "core_id"))
        except (OSError, ValueError):
            return 0, core, core
        return package, own, core

    return sorted(os.sched_getaffinity(0), key=key)
