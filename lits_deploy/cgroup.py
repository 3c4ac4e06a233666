"""Limits that a container or a service has put on this process: cgroup v2 and v1, the tightest of all groups it is in.

A group lies in others, each with a limit of its own. Inside a container /proc/self/cgroup may name folders that only
the host has: what the container sees at the mount's top counts there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOUNT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

_UNLIMITED = 1 << 60  # cgroup v1 says "no limit" of memory with a number near 2^63


def cpu_quota(mount: Path = MOUNT, own: Path = OWN) -> float | None:
    """How many cores' time this process may use; None where it is not limited.

    mount: where cgroups are mounted. own: which groups the process is in, in the form of /proc/self/cgroup.
    """
    files: list[tuple[Path, ...]] = [(folder / "cpu.max",) for folder in _groups("", mount, own)]
    files += [(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us") for folder in _groups("cpu", mount, own)]
    found = []
    for group in files:
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = map(int, " ".join(map(_text, group)).split())  # "max" is no number
            if quota > 0:  # -1: none
                found.append(quota / period)
    return min(found, default=None)


def memory_limit(mount: Path = MOUNT, own: Path = OWN) -> tuple[int, int] | None:
    """Bytes this process may use and those in use, less what can be dropped; None where it is not limited.

    Of several limits the one that leaves least. mount, own: as in `cpu_quota`.
    """
    files = [(group, "memory.max", "memory.current", "inactive_file") for group in _groups("", mount, own)]
    files += [
        (group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for group in _groups("memory", mount, own)
    ]
    found = []
    for folder, most, used, droppable in files:
        with suppress(OSError, ValueError):
            limit = int(_text(folder / most))  # "max" is no number
            now = int(_text(folder / used))
            for line in _text(folder / "memory.stat").splitlines():
                key, _, value = line.partition(" ")
                now -= int(value) if key == droppable else 0
            if limit < _UNLIMITED:
                found.append((limit, max(0, now)))
    return min(found, key=lambda pair: pair[0] - pair[1], default=None)


def _groups(controller: str, mount: Path, own: Path) -> Iterator[Path]:
    """This process's folder for a controller of v1 ("": of v2), and those above it, which need not be there."""
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _, controllers, path = line.split(":", 2)
            if controller not in controllers.split(","):
                continue
            for top in (mount, mount / "unified") if not controller else (mount / controllers, mount / controller):
                group = top if ".." in path else top / path.strip("/")  # "..": outside of what is mounted here
                yield group
                yield from (above for above in group.parents if above.is_relative_to(top))


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii")
