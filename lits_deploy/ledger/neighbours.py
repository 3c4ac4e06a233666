"""Files of one slice whose answers depend on the files beside them; `pipeline.neighbours` says which these are.

    ahead   (temporary) header and facts of files that are not done, of whoever has read their headers
    turn    (temporary) the files in the order of work, each with the numbers of those beside it
    beside  who stood beside a file when that was last planned, as a digest: an answer holds for these alone

All is on disk but one series. Ledgers in which nothing stands beside anything have none of it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from lits_deploy.ledger import schema
from lits_deploy.ledger.ranks import by_token
from lits_deploy.ledger.rows import PENDING, HeaderRow, PendingFile
from lits_deploy.series import Arranged

Near = tuple[int | None, ...]
"""Numbers of the files beside a file, None for itself."""


class SliceFile(NamedTuple):
    """A file of one slice: its number, path as it is written, whether it is to be done, and who stood beside it."""

    file: int
    path: str
    pending: bool
    digest: str


class PlannedNeighbours(NamedTuple):
    """Who stands beside a file, as numbers (empty: nobody) and as a digest; again: its answer holds no more."""

    file: int
    near: Near
    digest: str
    again: bool


class NeighbourTable:
    """Part of an open ledger, for after `Ledger.adopt`."""

    def __init__(self, db: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._db, self._transaction = db, transaction
        self._db.executescript(schema.BESIDE)

    def unread(self, kind: str, page: int) -> Iterator[PendingFile]:
        """The files of a kind, pending or failed, of which nothing is known; `put` may be called meanwhile."""
        after = ""
        while rows := self._db.execute(schema.UNREAD, (kind, after, page)).fetchall():
            yield from map(PendingFile._make, rows)
            after = rows[-1][1]

    def put(self, told: Iterable[tuple[int, HeaderRow, str, str | None]]) -> None:
        """Number, header, facts (`SliceRow`) and hash of files of one slice."""
        rows = ((file, *header, facts, sha256) for file, header, facts, sha256 in told)
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO ahead VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def arranged(self, *, named: bool) -> Iterator[tuple[list[SliceFile], list[Arranged]]]:
        """The files of one slice, a series UID or folder at a time, done or put, and their volumes."""
        for rows, volumes in by_token(self._db.execute(schema.MEMBERS), named=named):
            yield [SliceFile(row[4], row[5], row[10] == PENDING, row[11] or "") for row in rows], volumes

    def settle(self, plan: Iterable[PlannedNeighbours]) -> None:
        """Note who stands beside whom in the order of work, and have done again what does not hold."""
        with self._transaction():
            self._db.execute("DELETE FROM turn")
            for one in plan:
                near = json.dumps(one.near) if one.near else ""
                self._db.execute("INSERT INTO turn (file, near) VALUES (?, ?)", (one.file, near))
                self._db.execute("INSERT OR REPLACE INTO beside VALUES (?, ?)", (one.file, one.digest))
                for statement in schema.DO_AGAIN.split(";\n") if one.again else ():
                    self._db.execute(statement, (one.file,))
            for statement in schema.SETTLE.split(";\n"):
                self._db.execute(statement)

    def pending(self, page: int) -> Iterator[tuple[PendingFile, Near]]:
        """The files to do, `page` at a time, with those beside them; files may be recorded meanwhile."""
        after = -(1 << 62)
        while rows := self._db.execute(schema.PENDING_TURNS, (after, page)).fetchall():
            yield from ((PendingFile._make(row[:7]), _near(row[7])) for row in rows)
            after = rows[-1][8]

    def near(self, file: int) -> Near:
        """The numbers of the files beside a file."""
        row = self._db.execute("SELECT near FROM turn WHERE file = ?", (file,)).fetchone()
        return () if row is None else _near(row[0])


def _near(text: str) -> Near:
    return tuple(json.loads(text)) if text else ()
