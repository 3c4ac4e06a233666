"""Lock files: opened without following a link, regular files alone, readable by their owner alone."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lits_deploy import private
from lits_deploy.errors import OutputError


def open_lock(path: Path) -> int:
    """A descriptor of the lock file at `path`, made (mode 0600) where it is missing; the caller locks and closes it.

    Raises OSError; also where a link or something else than a file has that name, since whoever put it there could
    have another file of ours made, locked, or opened: `strerror` says so.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, f"the lock {path.name} is a link") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"the lock {path.name} is not a regular file")
    return descriptor


def take_lock(path: Path) -> int | None:
    """The lock file at `path` as `open_lock` gives it, locked; None while another process has it.

    Its holder may take the file away before closing it. Raises OSError as `open_lock`, and where the disk has no locks.
    """
    while True:
        descriptor = open_lock(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder took the file away between open and lock


@contextmanager
def folder_held(folder: Path, name: str, busy: OutputError) -> Iterator[None]:
    """Hold a lock file in a folder; a folder that had to be made and holds nothing else in the end is taken away again.

    Raises `busy` while another process has it, OutputError where the folder cannot be written.
    """
    made = not folder.exists()
    try:
        private.make_folder(folder)
        descriptor = take_lock(folder / name)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}).", fix="--out elsewhere") from error
    if descriptor is None:
        raise busy
    try:
        yield
    finally:
        with suppress(OSError):
            if made and [path.name for path in folder.iterdir()] == [name]:
                (folder / name).unlink()
                folder.rmdir()
        os.close(descriptor)
