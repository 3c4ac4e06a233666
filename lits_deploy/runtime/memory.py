"""Bounds the memory that a network may take on a CPU: a graph of a few bytes can ask for all that the machine has.

The bound is the soft limit of this process's writable memory (RLIMIT_DATA), lowered while a network is loaded or runs
and put back after. An allocation past it fails at once, so the library says that it has no memory, and nothing is
touched. RLIMIT_AS would count what GPUs and libraries only reserve. Not for GPUs: their memory has an end of its own.
"""

from __future__ import annotations

import functools
import re
import resource
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from lits_deploy import cgroup
from lits_deploy.errors import BundleError
from lits_deploy.machine import proc_value

DEFAULT_MIB = 1024

_COPIES = 5
"""A file's bytes, as parsed, as constants, as a runtime packs them anew, and one to spare: VGG19 took four."""

_STACK = 16 << 20
"""Of a thread, with its arena."""

_LEAST = 64 << 20

_lock = threading.Lock()
_inside = _most = _base = _end = 0
_before = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def to_load(model_bytes: int, threads: int, limit_mib: int) -> AbstractContextManager[None]:
    """Let loading add the limit to this process, and what any network of that size and those threads takes."""
    return bounded((limit_mib << 20) + _COPIES * model_bytes + _STACK * threads)


def to_infer(model_bytes: int, slices: int, limit_mib: int) -> AbstractContextManager[None]:
    """Let a batch add the limit for each of its slices, and weights that are packed anew at the first."""
    return bounded((limit_mib << 20) * slices + 2 * model_bytes)


def too_large(name: str, limit_mib: int) -> BundleError:
    """The error for a network whose load ran into its bound."""
    return BundleError(
        f"{name} takes more memory to load than {limit_mib} MiB beside its weights, or than is free.",
        fix="if you trust the bundle, give `classify`, `segment` or `watch` a larger --memory-limit",
    )


def is_lack(error: BaseException) -> bool:
    """True where a library's error says that it got no memory; an illegal access to memory is none."""
    text = str(error).lower()
    if failure := re.search(r"cuda failure (\d+)", text):
        return failure[1] == "2"  # cudaErrorMemoryAllocation
    if "illegal" in text:
        return False
    return isinstance(error, MemoryError) or "alloc" in text or "memory" in text


@contextmanager
def bounded(budget: int) -> Iterator[None]:
    """Let this process take `budget` bytes more than it has now; lanes inside at once have a budget each.

    All together, this process gets no more than three quarters of what it could have if it held nothing: what a library
    has kept of earlier batches counts, so that bound after bound does not creep up to all that the machine has.
    """
    global _inside, _most, _base, _end, _before
    with _lock:
        if _inside == 0:
            _before, _most = resource.getrlimit(resource.RLIMIT_DATA), 0
            _base, held = _usage()
            _end = _base + _room(held)
        _inside += 1
        if _inside > _most:
            _most = _inside
            soft, hard = _before
            ends = [end for end in (soft, hard, min(_base + budget * _most, _end)) if end != resource.RLIM_INFINITY]
            resource.setrlimit(resource.RLIMIT_DATA, (min(ends), hard))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                resource.setrlimit(resource.RLIMIT_DATA, _before)


def _usage() -> tuple[int, int]:
    """Bytes that RLIMIT_DATA counts now, and bytes of memory of its own that this process has touched."""
    _, resident, shared, _, _, data, _ = map(int, Path("/proc/self/statm").read_text(encoding="ascii").split())
    return data * resource.getpagesize(), (resident - shared) * resource.getpagesize()


def _room(held: int) -> int:
    """Bytes that this process may still take, which is a little in any case: Python itself needs some."""
    free = _free()
    most = min(free + held, _of_group()) * 3 // 4
    return max(most - held, min(_LEAST, free // 4))


@functools.lru_cache(maxsize=1)  # a batch has no time to look for it
def _of_group() -> int:
    """Bytes that this process's group may use (a container, a systemd unit); without a limit, more than any."""
    limits = cgroup.memory_limit()
    return 1 << 50 if limits is None else limits[0]


def _free() -> int:
    """Bytes that the machine could give; where it does not say, more than any."""
    value = proc_value("meminfo", "MemAvailable")
    return 1 << 50 if value is None else int(value.split()[0]) * 1024
