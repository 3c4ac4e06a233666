"""The open ledger: its rows read and written, one transaction a batch (`lits_deploy.ledger`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

from lits_deploy.files import canonical_json
from lits_deploy.ledger import digest, schema
from lits_deploy.ledger.absorb import Absorb
from lits_deploy.ledger.altered import Altered
from lits_deploy.ledger.file import LedgerFile
from lits_deploy.ledger.neighbours import NeighbourTable
from lits_deploy.ledger.ranks import Ranks
from lits_deploy.ledger.rows import (
    ABSTAINED,
    EXCLUDED,
    FAILED,
    NAMES,
    OK,
    PENDING,
    AnsweredRow,
    EntryRow,
    FileCounts,
    FileRow,
    PendingFile,
    PictureRow,
    ResultRow,
    SliceRow,
    SourceRow,
    VolumeRow,
)
from lits_deploy.scans.discover import ScanRecord

_STAGED = attrgetter(
    "path", "size", "mtime_ns", "reason", "kind", "container", "member", "ctime_ns", "unlisted", "shard"
)
"""The columns of `found` that are a record's own."""


class Ledger(LedgerFile):
    """An open ledger. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        """As `LedgerFile`."""
        super().__init__(folder)
        self._versions: str | None = None
        self._ranked = False
        self.acknowledge(lambda _: False)

    def __enter__(self) -> Ledger:
        return self

    @property
    def identity(self) -> dict[str, Any] | None:
        """The run's identity as it was adopted, or None in a new ledger."""
        text = self.noted("identity")
        return None if text is None else json.loads(text)

    @property
    def run_id(self) -> str:
        """16 hex digits of the identity and the list of (path, size): equal for equal inputs, however often resumed."""
        return self.noted("run_id") or ""

    @property
    def base(self) -> str | None:
        """The folder that the paths are relative to, escaped."""
        return self.noted("base")

    def stage(self, found: Iterable[ScanRecord], name: Callable[[str], str] = str) -> None:
        """Note what discovery saw; nothing changes before `adopt`. The same path again is ignored.

        name: what is written of a path.
        """
        with self._transaction():
            rows = ((name(f.path), _part(f.path), *_STAGED(f)) for f in found)
            self._db.executemany(schema.STAGE, rows)

    def staged(self) -> int:
        """How many files discovery saw."""
        return int(self._db.execute("SELECT count(*) FROM found").fetchone()[0])

    def results_to_go(self) -> tuple[int, int]:
        """How many scans have results, and how many of them discovery did not see (before `adopt`)."""
        there, seen = self._db.execute(schema.RESULTS_TO_GO).fetchone()
        return there, there - seen

    def goes_below(self, folder: str) -> bool:
        """Whether a result below a folder (as discovery names it, "" for the base) would go."""
        first, end = (f"{folder}/", f"{folder}0") if folder else ("", "\U0010ffff")  # `0` follows `/`
        return self._db.execute(schema.GOES_BELOW, (first, end)).fetchone() is not None

    def parts_to_go(self) -> int:
        """Of how many parts with results discovery saw nothing."""
        return int(self._db.execute(schema.PARTS_TO_GO).fetchone()[0])

    def folders_found(self, folders: Collection[str]) -> set[str]:
        """Those of the folders below which discovery found something."""
        found = set[str]()
        for (source,) in self._db.execute("SELECT source FROM found"):
            at = source.find("/")
            while at >= 0:
                if source[:at] in folders:
                    found.add(source[:at])
                at = source.find("/", at + 1)
        return found

    def new(self) -> int:
        """How many files discovery saw that the ledger has not (before `adopt`)."""
        query = "SELECT count(*) FROM found WHERE path NOT IN (SELECT path FROM file)"
        return int(self._db.execute(query).fetchone()[0])

    def adopt(
        self,
        identity: dict[str, Any],
        base: str,
        *,
        retry_failed: bool = False,
        scope: Mapping[str, str] | None = None,
        hidden: bool = False,
    ) -> FileCounts:
        """Make the staged files the run's files, and this its identity and base folder, in one transaction.

        Files that are done and have not changed (size, mtime, `altered`) stay; changed, new and half-done ones become
        pending; vanished ones leave. Failed files stay failed unless `retry_failed`.
        scope: names directly below the base, and what is written of them as paths: discovery saw only these
        (`Discovery.only`), so that what is done elsewhere stays, and what is half-done there leaves until it is seen
        again. What is done in it stays, too, where nothing is found in that part any more, or where some of it cannot
        be listed.
        hidden: nothing is to be written of a folder's name alone, by which an id is soon found. A part is then a random
        number, known again by the files that it still holds: if it holds none of them, their results stay.
        Raises LedgerError where what is there is not what was written: what follows makes its digests anew.
        """
        self.check()
        asked = {"retry": retry_failed, "scoped": scope is not None, "hidden": hidden}
        with self._transaction():
            self._db.execute("DELETE FROM scope")
            self._db.executemany("INSERT OR IGNORE INTO scope VALUES (?, ?)", (scope or {}).items())
            for statement in schema.ADOPT.split(";\n"):
                self._db.execute(statement, asked)
            self.altered.settle()
            digest.write(self._db, digest.of_all(self._db, fresh=True))
            text = canonical_json(identity)
            self._keep({"identity": text, "base": base, "run_id": digest.run_id(self._db, text)})
        self._ranked = False
        return self.counts()

    @cached_property
    def neighbours(self) -> NeighbourTable:
        """What else answers depend on than their own files."""
        return NeighbourTable(self._db, self._transaction)

    @property
    def absorb(self) -> Absorb:
        """Answers out of other ledgers."""
        return Absorb(self._db, self._transaction, self._changed)

    def _changed(self) -> None:
        self._checked = self._ranked = False

    @property
    def named(self) -> bool:
        """Whether paths are written as they are; else they are hashes, which tell no order."""
        return not (self.noted(NAMES) or "").endswith("-paths")

    @property
    def altered(self) -> Altered:
        """Which files have changed although their size and time say no."""
        return Altered(self._db, self._transaction)

    def counts(self) -> FileCounts:
        """Files by status."""
        by_status = dict(self._db.execute("SELECT status, count(*) FROM file GROUP BY status"))
        return FileCounts(by_status.get(PENDING, 0), by_status.get(OK, 0), by_status.get(FAILED, 0))

    def pending(self, page: int) -> Iterator[PendingFile]:
        """The files to do, in path order, `page` at a time; files may be recorded meanwhile."""
        query = f"{schema.PENDING_FILES} WHERE status = 0 AND path > ? ORDER BY path LIMIT ?"
        after = ""
        while rows := self._db.execute(query, (after, page)).fetchall():
            yield from map(PendingFile._make, rows)
            after = rows[-1][1]

    def staged_files(self, numbers: Iterable[int]) -> Iterator[PendingFile]:
        """Files of this start's discovery by their numbers, done or not."""
        query = f"{schema.PENDING_FILES} WHERE id = ?"
        for number in numbers:
            yield from map(PendingFile._make, self._db.execute(query, (number,)))

    def record(self, slices: Iterable[SliceRow], files: Iterable[FileRow], forget: Iterable[int] = ()) -> None:
        """One transaction: drop the slices of `forget` and of failed files, then add slices and mark files as done."""
        slices, files = list(slices), list(files)
        drop = [*forget, *(row.file for row in files if row.status == FAILED)]
        self._changed()
        masks = [(row.file, row.idx, row.labels) for row in slices if row.labels is not None]
        looks = [(row.file, row.idx, row.look) for row in slices if row.look is not None]
        seconds = [(row.file, row.idx, *row.second) for row in slices if row.second is not None]
        sealed = {row.header: digest.of(*row.header) for row in files if row.header is not None}
        with self._transaction():
            for table in ("slice", "mask", "look", "second", "picture"):
                self._db.executemany(f"DELETE FROM {table} WHERE file = ?", ((number,) for number in drop))
            self._db.executemany(
                "INSERT INTO slice VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (row[:10] for row in slices)
            )
            self._db.executemany("INSERT INTO mask VALUES (?, ?, ?)", masks)
            self._db.executemany("INSERT INTO look VALUES (?, ?, ?)", looks)
            self._db.executemany("INSERT INTO second VALUES (?, ?, ?, ?, ?)", seconds)
            self._db.executemany(
                "INSERT OR IGNORE INTO header (token, study, patient, info, digest) VALUES (?, ?, ?, ?, ?)",
                ((*header, seal) for header, seal in sealed.items()),
            )
            self._db.executemany(
                "UPDATE file SET status = ?, reason = ?, sha256 = ?, window = ?,"
                " header = (SELECT id FROM header WHERE digest = ?),"
                " library = (SELECT id FROM library WHERE versions = ?) WHERE id = ?",
                ((*row[1:5], row.header and sealed[row.header], self._versions, row.file) for row in files),
            )
            digest.write(self._db, digest.of_some(self._db, [row.file for row in files]))

    def answer_with(self, versions: Mapping[str, str]) -> None:
        """Note which versions of which libraries answer whatever is recorded from now on.

        A file that was begun under others is done again as a whole, so all its slices have the same.
        """
        self._versions = canonical_json(versions)
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO library (versions) VALUES (?)", (self._versions,))

    def answered_with(self) -> list[AnsweredRow]:
        """All versions that files which are done were answered with, the oldest first."""
        query = (
            "SELECT versions, count(DISTINCT file.id), count(slice.idx) FROM library JOIN file"
            " ON file.library = library.id LEFT JOIN slice ON slice.file = file.id"
            " WHERE file.status != 0 GROUP BY library.id ORDER BY library.id"
        )
        return [AnsweredRow(json.loads(versions), *counts) for versions, *counts in self._db.execute(query)]

    def rank(self) -> None:
        """Have `series` say which slices are a volume and in which order, unless nothing has come since it did."""
        if not self._ranked:
            self._ranks.settle(named=self.named)
            self._ranked = True

    @property
    def _ranks(self) -> Ranks:
        return Ranks(self._db, self._transaction)

    def rows(self) -> Iterator[ResultRow]:
        """Every result so far, by path and index; streamed."""
        self.rank()
        return (ResultRow(*row) for row in self._db.execute(schema.ROWS_BY_PATH))

    def rows_by_volume(self) -> Iterator[ResultRow]:
        """The same rows, volume by volume, in order along each; those of none first; streamed. With looks."""
        self.rank()
        return (ResultRow(*row) for row in self._db.execute(schema.ROWS_BY_RANK))

    def sources(self) -> Iterator[SourceRow]:
        """The slices of the files that this start found, volume by volume, in order along each; streamed."""
        self.rank()
        query = (
            "SELECT file.id, file.path, found.source, found.kind, found.container, found.member, found.mtime_ns,"
            " file.sha256, ranked.volume, coalesce(slice.idx, 0), coalesce(slice.status, file.status),"
            " coalesce(slice.reason, file.reason), ranked.position, ranked.original IS NOT NULL,"
            " mask.labels IS NOT NULL FROM file JOIN found USING (path) LEFT JOIN slice ON slice.file = file.id"
            " LEFT JOIN ranked ON ranked.file = file.id AND ranked.idx = coalesce(slice.idx, 0)"
            " LEFT JOIN mask ON mask.file = slice.file AND mask.idx = slice.idx"
            f" WHERE file.status != 0 ORDER BY {schema.BY_RANK}"
        )
        return (SourceRow._make((*row[:-2], *map(bool, row[-2:]))) for row in self._db.execute(query))

    def volumes(self) -> dict[int, VolumeRow]:
        """All volumes by number."""
        self.rank()
        return self._ranks.volumes()

    def written_parts(self) -> dict[str, list[str]]:
        """The names in the scope of the last `adopt`, those of which the ledger has files, and how it writes them."""
        found: dict[str, list[str]] = {}
        for part, written in self._db.execute("SELECT part, written FROM within ORDER BY part, written"):
            found.setdefault(part, []).append(written)
        return found

    def entries(self) -> list[EntryRow]:
        """What is in the parts of the last `adopt` with a scope: of files that are done, by part, study and volume."""
        self.rank()
        query = (
            "SELECT within.part AS whole, volume.study, volume.id, count(*),"
            " sum(coalesce(slice.status, file.status) = 2), sum(coalesce(slice.status, 0) = 4),"
            " sum(coalesce(slice.status, file.status) = 2 AND acknowledged(file.path))"
            " FROM file JOIN within ON within.written = coalesce(file.part, file.path)"
            " LEFT JOIN slice ON slice.file = file.id"
            " LEFT JOIN ranked ON ranked.file = file.id AND ranked.idx = coalesce(slice.idx, 0)"
            " LEFT JOIN volume ON volume.id = ranked.volume"
            " WHERE file.status != 0"
            " GROUP BY whole, volume.study, volume.id ORDER BY whole, volume.study, volume.name, volume.id"
        )
        return [EntryRow(*row) for row in self._db.execute(query)]

    def mask(self, file: int, index: int) -> bytes | None:
        """The compressed mask of a segmented slice."""
        row = self._db.execute("SELECT labels FROM mask WHERE file = ? AND idx = ?", (file, index)).fetchone()
        return None if row is None else row[0]

    def pictures(self) -> Iterator[PictureRow]:
        """All small pictures, by file and index; streamed. Raises LedgerError for one that is not as it was written."""
        for *cells, noted in self._db.execute(
            f"SELECT {', '.join(PictureRow._fields)}, digest FROM picture ORDER BY file, idx"
        ):
            if noted != digest.of(*cells):
                raise self._damaged(f"a picture of file {cells[0]} is not as it was written")
            yield PictureRow._make(cells)

    def pictured(self) -> set[tuple[int, int]]:
        """(file, index) of the slices that have a picture."""
        return set(self._db.execute("SELECT file, idx FROM picture"))

    def keep_pictures(self, wanted: Iterable[tuple[int, int]], new: Iterable[PictureRow]) -> None:
        """One transaction: drop the pictures that are not among `wanted`, and add new ones."""
        with self._transaction():
            drop = self.pictured() - set(wanted)
            self._db.executemany("DELETE FROM picture WHERE file = ? AND idx = ?", drop)
            self._db.executemany(
                "INSERT OR REPLACE INTO picture VALUES (?, ?, ?, ?, ?, ?)", ((*row, digest.of(*row)) for row in new)
            )

    def labels(self) -> dict[int, int]:
        """Classified slices per label, of files that are done; here and below, copies count once."""
        self.rank()
        return dict(self._db.execute(f"SELECT label, count(*) {schema.ONCE} AND label IS NOT NULL GROUP BY label"))

    def slices(self, status: int) -> int:
        """Slices of a status (ABSTAINED, EXCLUDED), of files that are done."""
        self.rank()
        query = f"SELECT count(*) {schema.ONCE} AND slice.status = ?"
        return int(self._db.execute(query, (status,)).fetchone()[0])

    def answered(self) -> int:
        """Slices that the network answered, copies too, of files that are done."""
        query = (
            "SELECT count(*) FROM slice JOIN file ON file.id = slice.file"
            " WHERE file.status = 1 AND slice.status IN (?, ?)"
        )
        return int(self._db.execute(query, (OK, ABSTAINED)).fetchone()[0])

    def copies(self) -> int:
        """Slices that show what another one of their series shows."""
        self.rank()
        return int(self._db.execute("SELECT count(*) FROM ranked WHERE original IS NOT NULL").fetchone()[0])

    def failed(self) -> int:
        """Failed rows: files, and slices of files that are done."""
        query = "SELECT (SELECT count(*) FROM file WHERE status = 2) + (SELECT count(*) FROM slice WHERE status = 2)"
        return int(self._db.execute(query).fetchone()[0])

    def failed_sources(self) -> Iterator[tuple[str, str]]:
        """Files with failed rows: path as it is written, and as this start's discovery found it, if it did."""
        return iter(self._db.execute(schema.FAILED_SOURCES))

    def acknowledge(self, holds: Callable[[str], bool]) -> None:
        """Say of which files, by their paths as they are written, failures count as acknowledged from now on."""
        self._db.create_function("acknowledged", 1, lambda path: int(holds(path)), deterministic=True)

    def acknowledged(self) -> int:
        """Failed rows that are acknowledged."""
        return int(self._db.execute(schema.ACKNOWLEDGED).fetchone()[0])

    def reasons(self) -> dict[str, int]:
        """Failed rows per reason, the most frequent first."""
        return self._most_frequent(
            "SELECT reason FROM file WHERE status = 2 UNION ALL SELECT reason FROM slice WHERE status = 2"
        )

    def excluded_reasons(self) -> dict[str, int]:
        """Slices that were kept from the network, per reason, the most frequent first."""
        self.rank()
        return self._most_frequent(f"SELECT slice.reason {schema.ONCE} AND slice.status = {EXCLUDED}")

    def _most_frequent(self, reasons: str) -> dict[str, int]:
        query = f"SELECT reason, count(*) AS n FROM ({reasons}) GROUP BY reason ORDER BY n DESC, reason LIMIT 50"
        return dict(self._db.execute(query))


def _part(path: str) -> str | None:
    """The first of a path's folders; None if it has none."""
    first, slash, _ = path.partition("/")
    return first if slash else None
