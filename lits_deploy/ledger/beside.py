"""Which files of one slice stand beside which, for networks that see neighbouring slices (`scans.neighbours`).

    place   (temporary) series and position of files of this start's discovery: who looked at them puts them there
    turn    (temporary) every file of it in the order in which neighbours follow each other, with its own neighbours
    beside  what stood beside a file when it was last taken on, as a digest: an answer holds for these neighbours alone,
            so that a file is done again when one of them changes, comes or goes

All is on disk but the one series that is being sorted (about 300 bytes a file). Runs of one channel have none of it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import NamedTuple

from lits_deploy.files import canonical_json
from lits_deploy.ledger import schema
from lits_deploy.ledger.rows import PendingFile
from lits_deploy.scans.neighbours import around


class _Member(NamedTuple):
    """A file of a series: its number, place, and what tells whether it has changed."""

    file: int
    series: str
    position: float
    path: str
    size: int
    mtime_ns: int


class Beside:
    """Part of an open ledger. Fill it with places (`known`, `unknown`, `put`) before `Ledger.adopt`."""

    def __init__(self, db: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._db, self._transaction = db, transaction
        self._db.executescript(schema.BESIDE)

    def known(self, kinds: Iterable[str]) -> None:
        """Take over the places of files of these kinds that are done, hold one slice and have not changed since."""
        with self._transaction():
            self._db.executemany(schema.KNOWN_PLACES, ((kind,) for kind in kinds))

    def unknown(self, kind: str, page: int) -> Iterator[PendingFile]:
        """The files of a kind without a place, done or not, `page` at a time: places may be put meanwhile.

        Their numbers count up and mean nothing.
        """
        count, after = 0, ""
        while rows := self._db.execute(schema.UNKNOWN_PLACES, (kind, after, page)).fetchall():
            for row in rows:
                yield PendingFile(count, *row)
                count += 1
            after = rows[-1][0]

    def put(self, places: Iterable[tuple[str, str, float]]) -> None:
        """Path, as it is written, series and position of files."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO place VALUES (?, ?, ?)", places)

    def settle(self, channels: int, retried: Collection[str]) -> None:
        """Say who stands beside whom, and have files done again that stand beside others than before.

        retried: paths of files that are tried again for another reason than their size or time: so are those beside
        them. Part of the ledger's `adopt`, in its transaction.
        """
        for table in ("turn", "again"):
            self._db.execute(f"DELETE FROM {table}")
        self._db.execute(schema.TURN_OF_OTHERS)
        for _, group in groupby(self._db.execute(schema.PLACES), key=lambda row: row[1]):
            members = [_Member(*row) for row in group]
            found = around(((member.series, member.position) for member in members), channels)
            rows = [
                (member, [None if members[index] is member else members[index] for index in indices])
                for member, indices in zip(members, found, strict=True)
            ]
            told = (_told(member, near) for member, near in rows)
            self._db.executemany("INSERT INTO turn (file, near, digest) VALUES (?, ?, ?)", told)
            again = (member.file for member, near in rows if any(one and one.path in retried for one in near))
            self._db.executemany("INSERT INTO again VALUES (?)", ((file,) for file in again))
        for statement in schema.SETTLE.split(";\n"):
            self._db.execute(statement)

    def pending(self, page: int) -> Iterator[tuple[PendingFile, tuple[int | None, ...]]]:
        """The files to do, in the order of `turn`, `page` at a time, with their neighbours as `near` gives them."""
        after = 0
        while rows := self._db.execute(schema.PENDING_TURNS, (after, page)).fetchall():
            yield from ((PendingFile._make(row[:7]), _near(row[7])) for row in rows)
            after = rows[-1][8]

    def near(self, file: int) -> tuple[int | None, ...]:
        """The numbers of a file's neighbours, one a channel, None for itself; empty where nobody is beside it."""
        row = self._db.execute("SELECT near FROM turn WHERE file = ?", (file,)).fetchone()
        return () if row is None else _near(row[0])


def _told(member: _Member, near: Sequence[_Member | None]) -> tuple[int, str, str]:
    if not any(near):
        return member.file, "", ""
    digest = canonical_json([None if one is None else [one.path, one.size, one.mtime_ns] for one in near])
    numbers = json.dumps([None if one is None else one.file for one in near])
    return member.file, numbers, hashlib.sha256(digest.encode()).hexdigest()[:16]


def _near(text: str) -> tuple[int | None, ...]:
    return tuple(json.loads(text)) if text else ()
