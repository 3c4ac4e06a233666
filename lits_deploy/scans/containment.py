"""Whether an open file lies where the user pointed. Links that lead out of the named folders are not followed.

Discovery leaves such links out, and says so. Files are opened later, by other processes, and a name may be made a link
meanwhile, itself or a folder on its way; so whoever opens a file asks again, of the open file: the kernel tells where
it really lies (/proc/self/fd). Where there is no /proc (not on Linux), only discovery's look counts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from lits_deploy.errors import SliceError

OUTSIDE = "a link that leads out of the folders that were named: --follow-links reads it"

Within = Sequence[str] | None
"""Real paths of the folders and files that were named; None: links may lead anywhere."""


def real_names(paths: Iterable[str | Path]) -> tuple[str, ...]:
    """The real paths of these, as paths are resolved and as the kernel has them, which differ in letters' case on some
    file systems."""
    found = set[str]()
    for path in paths:
        found.add(os.path.realpath(path))
        with suppress(OSError, AttributeError):  # O_PATH: Linux alone has it
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                found.add(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
            finally:
                os.close(descriptor)
    return tuple(sorted(found))


def is_within(real: str, within: Within) -> bool:
    """True of a real path that is one of these, or below one."""
    return within is None or any(real == one or real.startswith(one.rstrip("/") + "/") for one in within)


def check_within(descriptor: int, within: Within) -> None:
    """Raise SliceError for an open file that lies elsewhere."""
    if within is None:
        return
    try:
        real = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    except OSError:
        return
    if not is_within(real.removesuffix(" (deleted)"), within):
        raise SliceError(OUTSIDE)


def open_scan(path: str | bytes, within: Within) -> tuple[int, os.stat_result]:
    """Descriptor to read a scan or zip by, and its status. Raises SliceError for what is no regular file or lies
    elsewhere, OSError; no pipe is waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SliceError("not a regular file")
        check_within(descriptor, within)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status
