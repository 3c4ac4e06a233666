"""A local folder of results, put into a store: what has changed and no more, and the record of the run last.

While results are on their way there is no record, so whoever finds one finds the results that it tells of. A note on
this machine says what was put there; results that it does not know of are somebody else's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from lits_deploy.errors import OutputError, StorageError
from lits_deploy.files import sha256_file, write_json
from lits_deploy.storage.base import Store

LAST = "run.json"
"""The record of a run, which is put there last."""

_THREADS = 16
_HIDDEN = (".lock", ".tmp")  # ends of names that are never put there


class Sent(NamedTuple):
    """How many files were put there, were there already, and were taken away."""

    put: int
    same: int
    gone: int


class Mirror:
    """folder: the results on this machine; note: a file that says what was put into the store."""

    def __init__(self, folder: Path, store: Store, note: Path) -> None:
        self._folder, self._store, self._note = folder, store, note

    def check(self, *, overwrite: bool) -> None:
        """Raise OutputError where results of another run lie there, StorageError where nothing may be written."""
        if not overwrite and not self._known() and self._store.exists(LAST):
            raise OutputError(
                f"{self._store.location} holds results that were not made with this --ledger folder.",
                fix="that folder, another --out, or --overwrite",
            )
        probe = ".lits-deploy.probe"
        self._store.write(probe, b"")
        self._store.remove(probe)

    def send(self) -> Sent:
        """Make the store's results those of the folder. Raises StorageError; the same call goes on."""
        try:
            return self._send()
        except StorageError as error:
            raise StorageError(
                f"The results are on this machine, but {error.message}",
                fix=f"{error.fix}; the same command then uploads them",
                why=error.why,
            ) from error

    def _send(self) -> Sent:
        known, there = self._known(), set(self._store.names())
        files = {name: sha256_file(self._folder / name) for name in self._names()}
        changed = [name for name, digest in files.items() if name not in there or known.get(name) != digest]
        gone = sorted((known.keys() - files.keys()) & there)
        last = [name for name in changed if name == LAST]
        if changed or gone:
            self._store.remove(LAST)
        with ThreadPoolExecutor(_THREADS, "upload") as pool:
            for _ in pool.map(self._put, (name for name in changed if name != LAST)):
                pass
            for _ in pool.map(self._store.remove, gone):
                pass
        for name in last or ([LAST] if LAST in files and (changed or gone) else []):
            self._put(name)
        write_json(self._note, {"location": self._store.location, "files": files})
        return Sent(len(changed), len(files) - len(changed), len(gone))

    def _put(self, name: str) -> None:
        self._store.put(name, self._folder / name)

    def _names(self) -> Iterator[str]:
        for path in sorted(self._folder.rglob("*")):
            if path.is_file() and not path.name.endswith(_HIDDEN):
                yield path.relative_to(self._folder).as_posix()

    def _known(self) -> dict[str, str]:
        """Names and hashes of what was put there."""
        try:
            note = json.loads(self._note.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        files: dict[str, str] = note["files"] if note.get("location") == self._store.location else {}
        return files
