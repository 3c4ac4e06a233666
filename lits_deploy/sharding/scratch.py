"""Where a shard is worked on: a folder of its own on a local disk, found again by who does the same shard later here.

A process that is killed leaves its ledger there, and the next one that does the shard on this machine goes on with it.
Two at once have two folders. What is published is taken away.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lits_deploy import private
from lits_deploy.errors import OutputError
from lits_deploy.locks import take_lock


def default_root() -> Path:
    """In $TMPDIR, which batch systems set to a local disk, else in /tmp: one folder of this user."""
    return Path(tempfile.gettempdir()) / f"lits-deploy-{os.getuid()}"


def own_root() -> Path:
    """`default_root`, made if it is not there. Raises OutputError where it is not this user's alone to write to,
    OSError."""
    root = default_root()
    private.make_folder(root)
    _check_ours(root)
    return root


@dataclass
class Scratch:
    """A folder to work in. done: nothing in it is needed any more."""

    folder: Path
    done: bool = False


@contextmanager
def scratch(name: str, root: Path | None = None) -> Iterator[Scratch]:
    """A folder of that name below `root` (None: `default_root`), or, while another process is at it, of a similar one.

    It is taken away where the block ends well and says that it is done. Raises OutputError where none can be made.
    """
    try:
        if root is None:
            root = own_root()
        else:
            private.make_folder(root)
        folder, lock = _locked(root, name)
    except OSError as error:
        raise OutputError(
            f"{root} cannot be worked in ({error.strerror}).", fix="--ledger FOLDER on a local disk, or set TMPDIR"
        ) from error
    try:
        found = Scratch(folder)
        yield found
        if found.done:
            shutil.rmtree(folder, ignore_errors=True)
            lock_file(folder).unlink(missing_ok=True)
    finally:
        os.close(lock)


def lock_file(folder: Path) -> Path:
    """What is locked while somebody is at a folder."""
    return folder.with_name(f"{folder.name}.lock")


def _check_ours(root: Path) -> None:
    """In /tmp anybody may have made a folder of that name."""
    status = root.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise OutputError(
            f"{root} is not a folder that only you can write to.", fix="--ledger FOLDER on a local disk, or set TMPDIR"
        )


def _locked(root: Path, name: str) -> tuple[Path, int]:
    for number in count():
        folder = root / (f"{name}-{number}" if number else name)
        if (descriptor := take_lock(lock_file(folder))) is not None:
            return folder, descriptor
    raise AssertionError
