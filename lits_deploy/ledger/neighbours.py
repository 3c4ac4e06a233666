"""Files of one slice whose answers depend on neighbouring files; `pipeline.neighbours` says which these are.

    ahead   (temporary) header and facts of files that are not done, of whoever has read their headers
    queue   (temporary) the files in the order of work, each with the numbers of its neighbours
    beside  the neighbours of a file when they were last planned, as a digest: an answer holds for these alone

All is on disk but one series. Ledgers in which no file has neighbours have none of it.
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

FileNumbers = tuple[int | None, ...]
"""Numbers of a file's neighbours, None for itself."""


class SliceFile(NamedTuple):
    """A file of one slice: its number, path as it is written, whether it is to be done, its neighbours' digest."""

    file: int
    path: str
    pending: bool
    digest: str


class PlannedNeighbours(NamedTuple):
    """A file's neighbours, as numbers (empty: none) and as a digest; again: its answer holds no more."""

    file: int
    neighbours: FileNumbers
    digest: str
    again: bool


class NeighbourTable:
    """Part of an open ledger, for after `Ledger.adopt`."""

    def __init__(self, db: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._db, self._transaction = db, transaction
        self._db.executescript(schema.NEIGHBOURS)

    def unread(self, kind: str, page: int) -> Iterator[PendingFile]:
        """The files of a kind, pending or failed, of which nothing is known; `put` may be called meanwhile."""
        after = ""
        while rows := self._db.execute(schema.UNREAD, (kind, after, page)).fetchall():
            yield from map(PendingFile._make, rows)
            after = rows[-1][1]

    def put(self, files: Iterable[tuple[int, HeaderRow, str, str | None]]) -> None:
        """Number, header, facts (`SliceRow`) and hash of files of one slice."""
        rows = ((file, *header, facts, sha256) for file, header, facts, sha256 in files)
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO ahead VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def arranged(self, *, named: bool) -> Iterator[tuple[list[SliceFile], list[Arranged]]]:
        """The files of one slice, a series UID or folder at a time, done or put, and their volumes."""
        for rows, volumes in by_token(self._db.execute(schema.MEMBERS), named=named):
            yield [SliceFile(row[4], row[5], row[10] == PENDING, row[11] or "") for row in rows], volumes

    def settle(self, plan: Iterable[PlannedNeighbours]) -> None:
        """Note the neighbours of each file in the order of work, and have done again what does not hold."""
        with self._transaction():
            self._db.execute("DELETE FROM queue")
            for one in plan:
                numbers = json.dumps(one.neighbours) if one.neighbours else ""
                self._db.execute("INSERT INTO queue (file, neighbours) VALUES (?, ?)", (one.file, numbers))
                self._db.execute("INSERT OR REPLACE INTO beside VALUES (?, ?)", (one.file, one.digest))
                for statement in schema.DO_AGAIN.split(";\n") if one.again else ():
                    self._db.execute(statement, (one.file,))
            for statement in schema.SETTLE.split(";\n"):
                self._db.execute(statement)

    def pending(self, page: int) -> Iterator[tuple[PendingFile, FileNumbers]]:
        """The files to do, `page` at a time, with their neighbours; files may be recorded meanwhile."""
        after = -(1 << 62)
        while rows := self._db.execute(schema.QUEUED, (after, page)).fetchall():
            yield from ((PendingFile._make(row[:7]), _numbers(row[7])) for row in rows)
            after = rows[-1][8]

    def of(self, file: int) -> FileNumbers:
        """The numbers of a file's neighbours."""
        row = self._db.execute("SELECT neighbours FROM queue WHERE file = ?", (file,)).fetchone()
        return () if row is None else _numbers(row[0])


def _numbers(text: str) -> FileNumbers:
    return tuple(json.loads(text)) if text else ()
