"""Files of patients are their owner's alone, from the moment they are made, whatever the umask; and no core is dumped.

A file is created with the mode that it keeps: at no moment can anybody else open it. Within `private` whatever
`lits_deploy.files` writes is made so; elsewhere (bundles, training runs) the umask decides. The setting belongs to the
thread that entered it, not to the process, so a program that calls the library keeps its own umask.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

_PR_SET_DUMPABLE = 4


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may read what a run writes. group: the files' group as well (`--group-readable`); nobody else ever."""

    group: bool = False

    @property
    def file(self) -> int:
        """Mode of files: 0600 or 0640."""
        return 0o640 if self.group else 0o600

    @property
    def folder(self) -> int:
        """Mode of folders: 0700 or 0750."""
        return 0o750 if self.group else 0o700


OWNER = Access()
_CURRENT: ContextVar[Access | None] = ContextVar("lits_deploy_access", default=None)


def current() -> Access | None:
    """The access that holds here; None where the umask decides."""
    return _CURRENT.get()


@contextmanager
def private(access: Access = OWNER) -> Iterator[None]:
    """Within the block, in this thread, `lits_deploy.files` makes private files."""
    token = _CURRENT.set(access)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def make_folder(path: Path, access: Access = OWNER) -> None:
    """Make a folder and those above it that are missing; one that is there keeps its mode. Raises OSError."""
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_folder(path.parent, access)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    set_mode(path, access.folder)  # wider only, and only now


def create(path: Path) -> int:
    """Descriptor to write a new file by, which is made with mode 0600. Raises OSError, for a link too."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def set_mode(path: Path | int, mode: int) -> None:
    """Give a file or folder of ours its mode, where the file system and its owner let us."""
    with suppress(OSError):  # FAT and some network shares have no modes; another user's folder is his
        status = os.stat(path)  # noqa: PTH116 - takes a descriptor, too
        if status.st_mode & 0o777 != mode:
            os.chmod(path, mode)  # noqa: PTH101


def open_to_others(path: Path) -> bool:
    """Whether users other than the owner and the group may list or write a folder."""
    return bool(path.stat().st_mode & 0o007)


@contextmanager
def private_umask() -> Iterator[None]:
    """For programs: within the block the process makes no file that others may read, whichever library makes it."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def no_core_dumps() -> None:
    """Keep this process's memory, which holds scans, out of core files, for good; children inherit the limit.

    The limit stops core files. That the process is not dumpable stops those which the system pipes to a program, for
    which the limit does not count, and debuggers of the same user.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
