"""Where a plan is made: a scratch database on disk, so that memory does not grow with the number of files.

    seen     what the listing gives, as it comes
    found    the same by path, each once: its number is its rank by path
    old      rows of an earlier plan's shards; known: the found files that are as one of these says
    earlier  what headers said to a planning that did not end
    dirty    shards of the earlier plan that count no more; stale: series whose order is to be settled anew
    header, parsed   what headers say of files
    ordered  files by series and rank: what the cut goes through

Everything large is sorted by SQLite, which spills to disk, and gone through once. The database is a temporary one of
SQLite: its file has no name, so a process that is killed leaves nothing of patients behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any, NamedTuple

from lits_deploy.errors import OutputError
from lits_deploy.ledger import HeaderRow
from lits_deploy.ledger.ranks import by_token
from lits_deploy.ledger.rows import PendingFile
from lits_deploy.scans.discover import ScanRecord
from lits_deploy.sharding import schema
from lits_deploy.sharding.header_cache import Said
from lits_deploy.sharding.rows import PlannedRow

_CACHE_KIB = 192 << 10
"""Of the database and of each sort: 10 million files, sorted at once, take some 16 pieces of this."""

_PAGE = 1000
_STAGED = attrgetter("path", *schema.FILE.split(", "))


class PlanChanges(NamedTuple):
    """Files since the earlier plan."""

    added: int
    changed: int
    gone: int


class PlannedFile(NamedTuple):
    """What is known of a file without decoding it: its number, header (None: no series is known), slices, and where its
    first one lies as JSON (`series.SliceHeader`; None: it failed)."""

    id: int
    header: HeaderRow | None
    slices: int
    facts: str | None


class Staging:
    """The scratch database. Use as a context manager. Raises OutputError where its disk is full."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # "": a file without a name, gone when it is closed
        for pragma in (f"cache_size = -{_CACHE_KIB}", "journal_mode = OFF", "temp_store = FILE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("BEGIN")  # for good: nobody else reads it
        for statement in schema.TABLES.split(";\n"):
            self._db.execute(statement)
        self._headers: dict[HeaderRow, int] = {}

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._db.close()
        if isinstance(error, sqlite3.OperationalError) and ("full" in str(error) or "I/O" in str(error)):
            raise OutputError(
                f"No room for the plan's scratch data ({error}).", fix="TMPDIR=FOLDER with room: some 2 kB a file"
            ) from error

    def see(self, found: Iterable[ScanRecord]) -> None:
        """Note what the listing gives; of equal paths the first one counts."""
        self._db.executemany(schema.SEE, map(_STAGED, found))

    def remember(self, rows: Iterable[PlannedRow]) -> None:
        """Note a shard of the earlier plan."""
        values = ((*row[3:13], row.series, row.order, row.slices, row.shard) for row in rows)
        self._db.executemany(schema.REMEMBER, values)

    def recall(self, rows: Iterable[Said]) -> None:
        """Note what headers have said to a planning that did not end."""
        self._db.executemany(schema.RECALL, rows)
        self._db.execute("CREATE INDEX IF NOT EXISTS earlier_path ON earlier (path)")

    def compare(self) -> None:
        """The listing is complete: sort it, and compare it with the earlier plan."""
        self._db.execute(schema.SORT)
        self._db.execute("DROP TABLE seen")
        if not self._count("old"):
            return
        self._db.execute("CREATE INDEX old_path ON old (path)")
        self._db.execute(schema.KNOWN)
        self._db.execute("CREATE INDEX known_shard ON known (shard)")
        if self._count("old") > self._count("known"):
            self._db.execute(schema.GONE)
            self._db.execute("CREATE INDEX found_path ON found (path)")
        self._db.execute(schema.SHARDS_WITH_LOSSES)
        self._db.execute(schema.SERIES_WITH_LOSSES)

    def settle(self) -> int:
        """Follow the headers so far; how many files' headers are to be read now (`unread`)."""
        before = -1 if self._count("known") else self._db.total_changes  # nothing to follow in a first plan
        while before != (now := self._db.total_changes):
            before = now
            for statement in schema.SETTLE:
                self._db.execute(statement)
        self._db.execute("DELETE FROM unread")
        self._db.execute(schema.UNREAD)
        return self._count("unread")

    def unread(self, *, pictures: bool) -> Iterator[PendingFile]:
        """The files whose headers are to be read, by path; `tell` may be called meanwhile."""
        after = 0
        while rows := self._db.execute(schema.PAGE_OF_UNREAD, (pictures, after, _PAGE)).fetchall():
            yield from map(PendingFile._make, rows)
            after = rows[-1][0]

    def recalled(self) -> int:
        """Tell what is recalled of the files whose headers are to be read; of how many."""
        if not self._count("earlier"):
            return 0
        rows = self._db.execute(schema.RECALLED).fetchmany
        count = 0
        while some := rows(_PAGE):
            self.add_parsed(
                PlannedFile(row[0], None if row[1] is None else HeaderRow._make(row[1:5]), row[5], row[6])
                for row in some
            )
            count += len(some)
        return count

    def said(self, ids: Iterable[int]) -> list[Said]:
        """What headers of some files say, to be recalled later."""
        return [Said._make(self._db.execute(schema.SAID, (one,)).fetchone()) for one in ids]

    def add_parsed(self, files: Iterable[PlannedFile]) -> None:
        """Note what headers say."""
        rows = ((one.id, self._header(one.header), one.slices, one.facts) for one in files)
        self._db.executemany("INSERT OR REPLACE INTO parsed VALUES (?, ?, ?, ?)", list(rows))

    def _header(self, header: HeaderRow | None) -> int | None:
        if header is None:
            return None
        if header not in self._headers:  # of few: files of a series come close to each other
            if len(self._headers) >= _PAGE:
                self._headers.clear()
            cursor = self._db.execute("INSERT INTO header VALUES (NULL, ?, ?, ?, ?)", header)
            self._headers[header] = int(cursor.lastrowid or 0)
        return self._headers[header]

    def order(self) -> None:
        """All headers are read: put the files that go into new shards in the order of their series."""
        self._db.execute(schema.ALONE)
        self._db.execute(schema.CARRIED)
        for rows, volumes in by_token(self._db.execute(schema.PARSED), named=True):
            first, rank = min(row[4] for row in rows), dict[int, int]()
            for volume in volumes:
                for i in (*volume.slices, *volume.failed):
                    rank[i] = len(rank)
                rank |= {copy: rank[original] for copy, original in volume.copies.items()}
            ordered = ((first, rank[i], row[4], row[0], row[10]) for i, row in enumerate(rows))
            self._db.executemany("INSERT INTO ordered VALUES (?, ?, ?, ?, ?)", ordered)

    def slices(self) -> int:
        """How many there are in the files that are ordered, as far as headers say."""
        return int(self._db.execute("SELECT ifnull(sum(max(1, slices)), 0) FROM ordered").fetchone()[0])

    def ordered(self) -> Iterator[tuple[int, PlannedRow]]:
        """Those files, series by series in the order of their first paths; with each a number of its series."""
        for row in self._db.execute(schema.ORDERED):
            yield row[0], _planned(row[1:])

    def doubtful(self) -> list[int]:
        """The earlier plan's shards that count and have a file of which only the ctime is another."""
        return [shard for (shard,) in self._db.execute(schema.DOUBTFUL)]

    def of_shard(self, shard: int) -> Iterator[PlannedRow]:
        """The rows of an earlier plan's shard whose files are all there, as the listing has them now."""
        return map(_planned, self._db.execute(schema.OF_SHARD, (shard,)))

    def soil(self, shard: int) -> None:
        """A shard of the earlier plan counts no more."""
        self._db.execute("INSERT OR IGNORE INTO dirty VALUES (?)", (shard,))

    def look_again(self, shard: int) -> None:
        """Have the headers of a shard's doubtful files read."""
        self._db.execute("UPDATE known SET again = 1 WHERE shard = ? AND doubtful", (shard,))

    def scans_gone(self) -> tuple[int, int]:
        """How many scans the earlier plan had, and how many of them are gone; failures of their own are none."""
        there, gone = self._db.execute(schema.SCANS_GONE).fetchone()
        return there, gone

    def goes_below(self, folder: str) -> bool:
        """Whether a file below a folder ("": the base) is gone."""
        return self._has_below("gone", folder)

    def found_below(self, folder: str) -> bool:
        """Whether there is one below it now."""
        return self._has_below("found", folder)

    def _has_below(self, table: str, folder: str) -> bool:
        first, end = (f"{folder}/", f"{folder}0") if folder else ("", "\U0010ffff")  # `0` follows `/`
        query = f"SELECT 1 FROM {table} WHERE path >= ? AND path < ? LIMIT 1"
        return self._db.execute(query, (first, end)).fetchone() is not None

    def failed(self) -> int:
        """How many files' headers could not be read."""
        return int(self._db.execute("SELECT count(*) FROM parsed WHERE facts IS NULL").fetchone()[0])

    def dirty(self) -> set[int]:
        """The earlier plan's shards that count no more."""
        return {shard for (shard,) in self._db.execute("SELECT shard FROM dirty")}

    def changes(self) -> PlanChanges:
        """How the listing differs from the earlier plan."""
        found, old, known, gone = (self._count(table) for table in ("found", "old", "known", "gone"))
        changed = old - known - gone
        return PlanChanges(added=found - known - changed, changed=changed, gone=gone)

    def _count(self, table: str) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _planned(row: tuple[Any, ...]) -> PlannedRow:
    return PlannedRow._make((*row[:-2], bool(row[-2]), row[-1]))
