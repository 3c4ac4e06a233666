"""Answers out of another ledger, for those files of this one that are to do: what a merge has in place of a network.

    taken   (temporary) the files that are carried over, by their numbers there and here

Rows are carried over as they are, with their digests, one ledger in one transaction: memory does not grow with them. A
file is known by its path as it is written, size and time, so both ledgers have to name things alike (`rows.NAMES`).
Knows nothing of shards but their numbers, and of identities nothing at all: `sharding.merge` says which ledgers fit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from lits_deploy.ledger import check, digest, schema
from lits_deploy.ledger.rows import ABSTAINED, FAILED, OK, PictureRow

_TO_DO = """
SELECT found.shard, count(*) FROM file JOIN found USING (path)
WHERE file.status = 0 AND found.shard IS NOT NULL GROUP BY found.shard
"""
_SHARD_OF = "SELECT found.shard FROM file JOIN found USING (path) WHERE file.id = ? AND found.shard IS NOT NULL"
_SAME_FILES = "shard.file AS own CROSS JOIN main.file AS file ON file.path = own.path"  # in this order: by our index
_UNCHANGED = "own.status != 0 AND own.size = file.size AND own.mtime_ns = file.mtime_ns"
_TAKEN = f"""
CREATE TEMP TABLE IF NOT EXISTS taken (theirs INTEGER PRIMARY KEY, file INTEGER NOT NULL UNIQUE);
DELETE FROM temp.taken;
INSERT INTO taken SELECT own.id, file.id FROM {_SAME_FILES} WHERE file.status = 0 AND {_UNCHANGED}
"""
# Answers here whose files have other neighbours by the other ledger, or of which a file that may be a neighbour is to
# do.
_STALE = f"""
SELECT file.id FROM {_SAME_FILES} LEFT JOIN shard.header AS header ON header.id = own.header
LEFT JOIN main.beside AS here ON here.file = file.id LEFT JOIN shard.beside AS there ON there.file = own.id
WHERE file.status = 1 AND {_UNCHANGED} AND (here.digest IS NOT there.digest OR header.token IN (
    SELECT token FROM {_SAME_FILES} JOIN shard.header AS header ON header.id = own.header WHERE file.status = 0))
"""
_ABSORB = """
INSERT OR IGNORE INTO main.header (token, study, patient, info, digest)
    SELECT token, study, patient, info, digest FROM shard.header WHERE id IN (
        SELECT own.header FROM taken JOIN shard.file AS own ON own.id = theirs) ORDER BY id;
INSERT OR IGNORE INTO main.library (versions) SELECT versions FROM shard.library WHERE id IN (
    SELECT own.library FROM taken JOIN shard.file AS own ON own.id = theirs) ORDER BY id;
INSERT INTO main.slice
    SELECT taken.file, idx, status, reason, label, p0, p1, p2, facts, pixels
    FROM taken JOIN shard.slice AS own ON own.file = theirs;
INSERT INTO main.mask SELECT taken.file, idx, labels FROM taken JOIN shard.mask AS own ON own.file = theirs;
UPDATE main.file SET (status, reason, sha256, window, header, library, digest) = (
    SELECT own.status, own.reason, own.sha256, own.window, named.id, made.id,
        iif(own.part IS file.part, own.digest, NULL)
    FROM taken JOIN shard.file AS own ON own.id = theirs
    LEFT JOIN shard.header AS header ON header.id = own.header
    LEFT JOIN main.header AS named ON named.digest = header.digest
    LEFT JOIN shard.library AS library ON library.id = own.library
    LEFT JOIN main.library AS made ON made.versions = library.versions
    WHERE taken.file = file.id)
    WHERE id IN (SELECT file FROM taken)
"""
_LOOKS = """
INSERT INTO main.look SELECT taken.file, idx, numbers FROM taken JOIN shard.look AS own ON own.file = theirs
"""
_SECONDS = """
INSERT INTO main.second SELECT taken.file, idx, liver, tumour, log_odds
FROM taken JOIN shard.second AS own ON own.file = theirs
"""
_SINCE = {"look": _LOOKS, "second": _SECONDS}
"""Tables that a ledger of an older schema has not (`schema.ADDED`), and what carries their rows over."""
_HAS = "SELECT 1 FROM shard.sqlite_master WHERE name = ?"
_NEIGHBOURS = """
INSERT OR REPLACE INTO main.beside SELECT taken.file, digest FROM taken JOIN shard.beside AS own ON own.file = theirs
"""
_UNSEALED = "SELECT id FROM main.file WHERE id IN (SELECT file FROM taken) AND digest IS NULL"
_COUNTS = """
SELECT count(*), sum(status = ?), (SELECT count(*) FROM taken JOIN main.slice USING (file) WHERE status IN (?, ?))
FROM taken JOIN main.file ON id = taken.file
"""
_PICTURE = """
SELECT own.id, picture.idx, jpeg, side, contours, picture.digest
FROM main.file JOIN shard.file AS own USING (path) JOIN shard.picture ON picture.file = own.id
WHERE main.file.id = ? AND picture.idx = ?
"""


class Taken(NamedTuple):
    """What was carried over: files, the failed ones of them, and slices with an answer of the network."""

    files: int
    failed: int
    slices: int


def notes_of(path: Path, keys: Iterable[str]) -> dict[str, str]:
    """Values that another ledger has noted. Raises LedgerDamage where they are not as they were written."""
    with _reading(), closing(sqlite3.connect(check.at_rest(path), uri=True)) as db:
        notes = {}
        for key in keys:
            for value, seal in db.execute("SELECT value, digest FROM meta WHERE key = ?", (key,)):
                if seal != digest.of(key, value):
                    raise LedgerDamage(f"damaged (its note `{key}` is not as it was written)")
                notes[key] = value
        return notes


class LedgerDamage(Exception):  # noqa: N818 - reads better where it is raised
    """What another ledger is, such as `damaged (…)`; who asked for it says which one, and what to do."""


class Absorb:
    """Part of an open ledger, for after `Ledger.adopt`. changed: to be called where rows change."""

    def __init__(
        self,
        db: sqlite3.Connection,
        transaction: Callable[[], AbstractContextManager[None]],
        changed: Callable[[], None],
    ) -> None:
        self._db, self._transaction, self._changed = db, transaction, changed

    def to_do(self) -> dict[int, int]:
        """Shard → how many of its files are to do."""
        return dict(self._db.execute(_TO_DO))

    def shards_of(self, files: Iterable[int]) -> dict[int, int]:
        """File → its shard, of files that this start's listing has."""
        return {file: shard for file in files for (shard,) in self._db.execute(_SHARD_OF, (file,))}

    def take(self, path: Path, *, neighbours: bool) -> Taken:
        """Carry over the answers of the files that are to do, in one transaction.

        path: of the other ledger, which nobody writes to. neighbours: they depend on other files (`ledger.neighbours`),
        and those that hold no more are carried over again. Raises LedgerDamage where rows of the other ledger are not
        those that were written; nothing has changed then.
        """
        with _reading():
            if (found := check.examine(path, at_rest=True)) is not None:
                raise LedgerDamage(found[0].removeprefix("is "))
        with self._attached(path), self._transaction():
            self._changed()
            stale: list[int] = []
            if neighbours:
                self._db.execute(schema.NEIGHBOUR_TABLE)
                stale = [file for (file,) in self._db.execute(_STALE)]
            for file in stale:
                self._run(schema.DO_AGAIN, file)
            self._run(_TAKEN)
            self._run(_ABSORB)
            for table, statement in _SINCE.items():
                if self._db.execute(_HAS, (table,)).fetchone():
                    self._run(statement)
            if neighbours:
                self._run(_NEIGHBOURS)
            if stale:
                self._run(schema.DROP_HEADERS)
            unsealed = [file for (file,) in self._db.execute(_UNSEALED)]
            digest.write(self._db, digest.of_some(self._db, unsealed))
            files, failed, slices = self._db.execute(_COUNTS, (FAILED, OK, ABSTAINED)).fetchone()
            return Taken(files, failed or 0, slices)

    def pictures(self, path: Path, keys: Iterable[tuple[int, int]]) -> list[PictureRow]:
        """Small pictures of these slices (file and index here), as far as another ledger has them.

        Raises LedgerDamage for one that is not as it was written.
        """
        found: list[PictureRow] = []
        with _reading(), self._attached(path):
            for file, index in keys:
                for *cells, noted in self._db.execute(_PICTURE, (file, index)).fetchall():
                    if noted != digest.of(*cells):
                        raise LedgerDamage(f"damaged (a picture of file {cells[0]} is not as it was written)")
                    found.append(PictureRow(file, *cells[1:]))
        return found

    def _run(self, script: str, *values: int) -> None:
        for statement in script.split(";\n"):
            self._db.execute(statement, values)

    @contextmanager
    def _attached(self, path: Path) -> Iterator[None]:
        self._db.execute("ATTACH ? AS shard", (check.at_rest(path),))
        try:
            yield
        finally:
            self._db.execute("DETACH shard")


@contextmanager
def _reading() -> Iterator[None]:
    """Within, what SQLite says of a damaged file is LedgerDamage."""
    try:
        yield
    except check.Unreadable as error:
        raise LedgerDamage(f"damaged ({check.damage(error)})") from error
