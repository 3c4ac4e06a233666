"""Digests of the ledger's rows, kept beside them: what was written is what is read, or the ledger is damaged.

    file     over its row, its header's digest, libraries, slices, and their masks, looks and second answers; none while
             it is pending
    header, meta, picture    over the row
    run id   over identity, paths and sizes: no file is missing, and none too many (`Ledger.adopt`)

They are written in the transaction of the rows. Times of files are left out: one that differs has the file done again.
They find damage and rows altered by hand, not a forger, who could compute them anew.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

_BYTES = 16

_SEALED = """
SELECT file.id, file.digest, file.status, file.path, file.size, file.reason, file.sha256, file.window, file.part,
       header.digest, library.versions,
       slice.idx, slice.status, slice.reason, slice.label, slice.p0, slice.p1, slice.p2, slice.facts, slice.pixels,
       mask.labels, look.numbers, second.liver, second.tumour, second.log_odds
FROM file LEFT JOIN header ON header.id = file.header LEFT JOIN library ON library.id = file.library
LEFT JOIN slice ON slice.file = file.id LEFT JOIN mask ON mask.file = slice.file AND mask.idx = slice.idx
LEFT JOIN look ON look.file = slice.file AND look.idx = slice.idx
LEFT JOIN second ON second.file = slice.file AND second.idx = slice.idx
WHERE {which} ORDER BY file.id, slice.idx
"""
_ALL = _SEALED.format(which="1")
_FRESH = _SEALED.format(which="file.status != 0 AND file.digest IS NULL")
_LOT = 32
_SOME = _SEALED.format(which=f"file.id IN ({', '.join('?' * _LOT)})")  # of one length: SQLite compiles it once

_FILE, _SLICE, _MASK, _LOOK, _SECOND = slice(2, 11), slice(11, 20), 20, 21, slice(22, 25)


def of(*cells: Any) -> bytes:
    """The digest of a row, 16 bytes; of text, numbers, bytes and None as SQLite gives them back."""
    return hashlib.blake2b(_encoded(cells), digest_size=_BYTES).digest()


class DigestedRow(NamedTuple):
    """A file's number and status, the digest noted beside it (None while pending), and what it is now."""

    file: int
    status: int
    noted: bytes | None
    now: bytes


def of_all(db: sqlite3.Connection, *, fresh: bool = False) -> Iterator[DigestedRow]:
    """Every file, in the order of their numbers; streamed. fresh: those that are done and have no digest yet."""
    return _sealed(db, _FRESH if fresh else _ALL)


def of_some(db: sqlite3.Connection, numbers: Sequence[int]) -> Iterator[DigestedRow]:
    """These files."""
    for start in range(0, len(numbers), _LOT):
        lot = numbers[start : start + _LOT]
        yield from _sealed(db, _SOME, *lot, *[None] * (_LOT - len(lot)))


def write(db: sqlite3.Connection, found: Iterable[DigestedRow]) -> None:
    """Note the digests of these files beside them; part of the transaction that wrote their rows."""
    db.executemany("UPDATE file SET digest = ? WHERE id = ?", [(each.now, each.file) for each in found])


def _sealed(db: sqlite3.Connection, query: str, *values: int | None) -> Iterator[DigestedRow]:
    for number, group in groupby(db.execute(query, values), key=itemgetter(0)):
        digest = None
        for row in group:
            if digest is None:
                noted, status = row[1], row[2]
                digest = hashlib.blake2b(_encoded(row[_FILE]), digest_size=_BYTES)
            digest.update(_encoded(row[_SLICE]))
            if row[_MASK] is not None:
                digest.update(of(row[_MASK]))
            if row[_LOOK] is not None:  # a slice without one has the digest that it had in schema 5
                digest.update(of("look", row[_LOOK]))
            if row[_SECOND][-1] is not None:  # likewise
                digest.update(of("second", *row[_SECOND]))
        assert digest is not None
        yield DigestedRow(number, status, noted, digest.digest())


def run_id(db: sqlite3.Connection, identity: str) -> str:
    """16 hex digits of the identity, as JSON, and the list of (path, size)."""
    digest = hashlib.sha256(identity.encode())
    for path, size in db.execute("SELECT path, size FROM file ORDER BY path"):
        digest.update(f"\n{size} {path}".encode())
    return digest.hexdigest()[:16]


def _encoded(cells: tuple[Any, ...]) -> bytes:
    # ascii() tells 1 from 1.0 and '1', is exact for floats, and is the same in every Python: repr() is not, as which
    # characters it escapes follows Unicode's version.
    return ascii(cells).encode("ascii")
