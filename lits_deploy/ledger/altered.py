"""Files whose size and time of change say that they are as before, and whose ctime says otherwise.

    ctime   the time of the inode's last change when a file was last taken on, where the file is known (no row: not yet)

Nobody sets a ctime, so it shows a file that was written anew and given its old time back. It also moves where content
stays: chmod, a hard link, a backup that was put back. So such files are *doubtful*: whoever can read them compares
their bytes with the hash that the ledger has, and says which are `altered`; the others keep their answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from lits_deploy.ledger import schema


class DoubtfulFile(NamedTuple):
    """A file to compare: path as it is written, where discovery found it, its zip and number in it if in one, and what
    the ledger has of its hash (None: it failed before it could be read)."""

    path: str
    source: str
    container: str | None
    member: int | None
    sha256: str | None


class Altered:
    """Part of an open ledger, between `Ledger.stage` and `Ledger.adopt`."""

    def __init__(self, db: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._db, self._transaction = db, transaction

    def doubtful(self) -> Iterator[DoubtfulFile]:
        """The files to compare, so that a zip's members follow each other; `put` may be called meanwhile."""
        return map(DoubtfulFile._make, self._db.execute(schema.DOUBTFUL))  # sorted, so settled before the first comes

    def put(self, paths: Iterable[str]) -> None:
        """Paths, as they are written, of files whose content is another: `adopt` has them done again."""
        with self._transaction():
            self._db.executemany("UPDATE found SET altered = 1 WHERE path = ?", ((path,) for path in paths))

    def paths(self) -> set[str]:
        """What was put."""
        return {path for (path,) in self._db.execute("SELECT path FROM found WHERE altered")}

    def settle(self) -> None:
        """Remember the times of the files that were taken on. Part of the ledger's `adopt`, in its transaction."""
        for statement in schema.SETTLE_CTIME.split(";\n"):
            self._db.execute(statement)
