"""OUT while a run is spread into it: held for one command, with the salt that an ordinary run would have.

OUT/.lits-deploy.shards/       the plan and the shards that are done (with --ledger: there)
    .lits-deploy.spread.lock   held from the plan to the merge
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lits_deploy import private
from lits_deploy.errors import OutputError
from lits_deploy.ledger import FILE_NAME
from lits_deploy.locks import take_lock
from lits_deploy.pipeline.options import PATHS, ClassifyOptions
from lits_deploy.pipeline.output import LOCK
from lits_deploy.pseudonyms import SALT_FILE, salt_of

FOLDER, BUSY = ".lits-deploy.shards", ".lits-deploy.spread.lock"


def with_salt_there(options: ClassifyOptions, folder: Path) -> ClassifyOptions:
    """The options with the salt that an ordinary run into that folder would have, for processes elsewhere: no path of
    theirs depends on the current folder."""
    if options.salt is None and options.salt_file is None:
        salt_of(folder, None)
        options = replace(options, salt_file=folder / SALT_FILE)
    named: dict[str, Any] = {name: path.absolute() for name in PATHS if (path := getattr(options, name)) is not None}
    return replace(options, **named)


@contextmanager
def held(folder: Path, out: Path, *, overwrite: bool) -> Iterator[None]:
    """OUT, or the folder of its ledger, for this command alone. What it made and never used is taken away."""
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    had_salt = (folder / SALT_FILE).exists()
    try:
        private.make_folder(folder)
        own = take_lock(folder / BUSY)
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror}).", fix="--out elsewhere") from error
    busy = OutputError(f"Another lits-deploy is writing to {out}.", fix="wait for it, or --out elsewhere")
    if own is None:
        raise busy
    try:
        if _in_use(folder / LOCK):
            raise busy
        try:
            if overwrite:
                shutil.rmtree(folder / FOLDER, ignore_errors=True)
            yield
        finally:
            if not (folder / FILE_NAME).exists() and not (folder / FOLDER).exists():
                for name in (BUSY, *(() if had_salt else (SALT_FILE,))):
                    (folder / name).unlink(missing_ok=True)
                for one in made:
                    with suppress(OSError):
                        one.rmdir()
    finally:
        os.close(own)


def _in_use(path: Path) -> bool:
    """Whether an ordinary run holds the lock of an output folder; the merge will want it for itself."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
