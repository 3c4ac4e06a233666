"""The ledger: what a run has done, in SQLite, one transaction a batch. It is the truth; result tables are copies.

    meta    schema, identity of the run, run id
    file    one row a scan: path, size, mtime → status (pending, ok, failed), reason, SHA-256, window, series;
            part: the folder or zip directly below the base that it lies in, none if it lies there itself
    slice   one row a slice of it: index → label (none where the answer is `abstain`), calibrated probabilities,
            position, or the reason why not
    series  one row a series: its name and its study's (pseudonyms unless the user identifies), what its header says
    mask    labels of a segmented slice, compressed (`segmentation`)
    picture a small picture of a suspicious slice with its contours (`report.pictures`), for a page without the scans
    found   (temporary) what this start's discovery saw: `adopt` makes it the list of files, `pending` reads it

A file is ok only together with all of its slices. In WAL mode with synchronous=NORMAL the ledger survives kill -9;
a power cut may cost the last batches, which are then done again. Knows nothing about bundles or networks, and stores
what it is given: `pipeline.naming` decides what may be written of identifiers and paths.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lits_deploy.errors import OutputError
from lits_deploy.files import canonical_json
from lits_deploy.scans.discover import Found

SCHEMA = 3
FILE_NAME = "ledger.sqlite"
PENDING, OK, FAILED, ABSTAINED = 0, 1, 2, 3

NAMES, RUN, ABOUT, PICTURES = "names", "run", "about", "pictures"
"""What is noted of a run (`Ledger.note`): how it names things; classes and provenance, which its tables repeat; what a
report says of network and machine (`pipeline.about`); what is drawn over pictures (`pipeline.pictures`)."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE series (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, study TEXT NOT NULL, info TEXT NOT NULL);
CREATE TABLE file (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    status INTEGER NOT NULL, reason TEXT, sha256 TEXT, window TEXT, series INTEGER, part TEXT);
CREATE TABLE slice (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, status INTEGER NOT NULL, reason TEXT,
    label INTEGER, p0 REAL, p1 REAL, p2 REAL, position REAL, PRIMARY KEY (file, idx)) WITHOUT ROWID;
CREATE TABLE mask (file INTEGER NOT NULL, idx INTEGER NOT NULL, labels BLOB NOT NULL, PRIMARY KEY (file, idx));
CREATE TABLE picture (
    file INTEGER NOT NULL, idx INTEGER NOT NULL, jpeg BLOB NOT NULL, side INTEGER NOT NULL, contours TEXT NOT NULL,
    PRIMARY KEY (file, idx));
"""
_FOUND = """
CREATE TEMP TABLE found (
    path TEXT PRIMARY KEY, place TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT,
    kind TEXT NOT NULL, container TEXT, member INTEGER, part TEXT) WITHOUT ROWID;
CREATE TEMP TABLE scope (part TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_ADOPT = """
CREATE TEMP TABLE gone AS SELECT file.id FROM file LEFT JOIN found ON found.path = file.path
    WHERE (found.path IS NULL AND (NOT :scoped OR coalesce(file.part, file.path) IN (SELECT part FROM scope)))
       OR found.size != file.size OR found.mtime_ns != file.mtime_ns OR found.reason IS NOT NULL
       OR file.status = 0 OR (:retry AND file.status = 2 AND found.path IS NOT NULL);
DELETE FROM slice WHERE file IN (SELECT id FROM gone);
DELETE FROM mask WHERE file IN (SELECT id FROM gone);
DELETE FROM picture WHERE file IN (SELECT id FROM gone);
DELETE FROM file WHERE id IN (SELECT id FROM gone);
DELETE FROM series WHERE id NOT IN (SELECT series FROM file WHERE series IS NOT NULL);
INSERT INTO file (path, size, mtime_ns, status, reason, part)
    SELECT path, size, mtime_ns, CASE WHEN reason IS NULL THEN 0 ELSE 2 END, reason, part FROM found
    WHERE path NOT IN (SELECT path FROM file) ORDER BY path;
DROP TABLE gone;
"""
_ROWS = """
SELECT file.path, coalesce(slice.idx, 0), coalesce(slice.status, file.status), coalesce(slice.reason, file.reason),
       slice.label, slice.p0, slice.p1, slice.p2, file.window, file.sha256, series.study, series.name,
       slice.position, series.id, file.id
FROM file LEFT JOIN slice ON slice.file = file.id LEFT JOIN series ON series.id = file.series
WHERE file.status != 0 ORDER BY {order}
"""
_PENDING = "SELECT id, path, place, kind, container, member, found.mtime_ns FROM file JOIN found USING (path)"
_BY_PATH = "file.path, slice.idx"
_BY_SERIES = "series.study, series.name, slice.position IS NULL, slice.position, file.path, slice.idx"


class SliceRow(NamedTuple):
    """A slice's answer: file's number, place in it, label 0…2 and probabilities; no label for `abstain`; or a reason
    and None. position: along its series; labels: its mask, compressed, if it was segmented."""

    file: int
    idx: int
    status: int
    reason: str | None
    label: int | None
    p0: float | None
    p1: float | None
    p2: float | None
    position: float | None = None
    labels: bytes | None = None


class SeriesRow(NamedTuple):
    """A series: its name and its study's, and `info`, a JSON object of what its header says (`pipeline.naming`)."""

    name: str
    study: str
    info: str


class FileRow(NamedTuple):
    """A file that is done: number, OK or FAILED, reason, SHA-256 of its bytes, window of its intensities, series."""

    file: int
    status: int
    reason: str | None
    sha256: str | None
    window: str | None
    series: SeriesRow | None = None


class PartRow(NamedTuple):
    """What one series (or none) of one part holds: the part as it is written, study, series' number, rows by status."""

    part: str
    study: str | None
    series_id: int | None
    rows: int
    failed: int
    withheld: int


class SourceRow(NamedTuple):
    """A slice (or a failed file) and where its file is: number to mtime as in PendingFile, the file's hash, its series,
    the slice's place in file and series, status and reason, and whether it has a mask."""

    file: int
    path: str
    place: str
    kind: str
    container: str | None
    member: int | None
    mtime_ns: int
    sha256: str | None
    series_id: int | None
    idx: int
    status: int
    reason: str | None
    position: float | None
    masked: bool


class PendingFile(NamedTuple):
    """A file to do: number, path as it is written, where discovery found it, reader's kind, its zip if in one, and the
    time of its (or the zip's) last change then."""

    file: int
    path: str
    place: str
    kind: str
    container: str | None
    member: int | None
    mtime_ns: int


class ResultRow(NamedTuple):
    """A row of the result tables, as far as the ledger knows it; `series_id` leads to `Ledger.series`, `file` to the
    file's pictures."""

    path: str
    idx: int
    status: int
    reason: str | None
    label: int | None
    p0: float | None
    p1: float | None
    p2: float | None
    window: str | None
    sha256: str | None
    study: str | None = None
    series: str | None = None
    position: float | None = None
    series_id: int | None = None
    file: int | None = None


class PictureRow(NamedTuple):
    """A small picture of a slice: JPEG of side × side pixels, and its contours as JSON (`report.pictures`)."""

    file: int
    idx: int
    jpeg: bytes
    side: int
    contours: str


@dataclass(frozen=True)
class Counts:
    """Files by status."""

    pending: int
    ok: int
    failed: int

    @property
    def all(self) -> int:
        """Files in the ledger."""
        return self.pending + self.ok + self.failed


class Ledger:
    """An open ledger. Use as a context manager; one process at a time (`pipeline.output` holds the lock)."""

    def __init__(self, folder: Path) -> None:
        """Open or make the ledger of a folder; OutputError where its disk cannot carry one."""
        self.path = folder / FILE_NAME
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise self._unusable(error) from error
        except OutputError:
            self._db.close()
            raise

    def _prepare(self) -> None:
        mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"its journal mode is {mode}, not WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self._transaction():
                for statement in _TABLES.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")
        elif version != SCHEMA:
            raise OutputError(
                f"{self.path} has schema {version}; this version reads {SCHEMA}.",
                fix="--out elsewhere, --overwrite, or the lits-deploy that made it",
            )
        self._db.executescript(_FOUND)

    def _unusable(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"The ledger {self.path} cannot be kept ({error}). It needs a local disk, not a network share.",
            fix="--ledger FOLDER on a local disk; --overwrite if the file was damaged",
        )

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close; the write-ahead log is folded in and removed."""
        self._db.close()

    @property
    def identity(self) -> dict[str, Any] | None:
        """The run's identity as it was adopted, or None in a new ledger."""
        text = self._meta("identity")
        return None if text is None else json.loads(text)

    @property
    def run_id(self) -> str:
        """16 hex digits of the identity and the list of (path, size): equal for equal inputs, however often resumed."""
        return self._meta("run_id") or ""

    @property
    def base(self) -> str | None:
        """The folder that the paths are relative to, escaped."""
        return self._meta("base")

    def stage(self, found: Iterable[Found], name: Callable[[str], str] = str) -> None:
        """Note what discovery saw; nothing changes before `adopt`. The same path again is ignored.

        name: what is written of a path.
        """
        with self._transaction():
            rows = (
                (name(f.path), f.path, f.size, f.mtime_ns, f.reason, f.kind, f.container, f.member, _part(f.path, name))
                for f in found
            )
            self._db.executemany("INSERT OR IGNORE INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def staged(self) -> int:
        """How many files discovery saw."""
        return int(self._db.execute("SELECT count(*) FROM found").fetchone()[0])

    def adopt(
        self,
        identity: dict[str, Any],
        base: str,
        *,
        retry_failed: bool = False,
        scope: Collection[str] | None = None,
    ) -> Counts:
        """Make the staged files the run's files, and this its identity and base folder, in one transaction.

        Files that are done and have not changed (size, mtime) stay; changed, new and half-done ones become pending;
        vanished ones leave. Failed files stay failed unless `retry_failed`.
        scope: names directly below the base, as they are written: discovery saw only these (`Discovery.only`), so that
        what is done elsewhere stays, and what is half-done there leaves until it is seen again.
        """
        asked = {"retry": retry_failed, "scoped": scope is not None}
        with self._transaction():
            self._db.execute("DELETE FROM scope")
            self._db.executemany("INSERT OR IGNORE INTO scope VALUES (?)", ((part,) for part in scope or ()))
            for statement in _ADOPT.split(";\n"):
                self._db.execute(statement, asked if ":scoped" in statement else {})
            digest = hashlib.sha256(canonical_json(identity).encode())
            for path, size in self._db.execute("SELECT path, size FROM file ORDER BY path"):
                digest.update(f"\n{size} {path}".encode())
            values = {"identity": canonical_json(identity), "base": base, "run_id": digest.hexdigest()[:16]}
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())
        return self.counts()

    def counts(self) -> Counts:
        """Files by status."""
        by_status = dict(self._db.execute("SELECT status, count(*) FROM file GROUP BY status"))
        return Counts(by_status.get(PENDING, 0), by_status.get(OK, 0), by_status.get(FAILED, 0))

    def pending(self, page: int) -> Iterator[PendingFile]:
        """The files to do, in path order, `page` at a time; files may be recorded meanwhile."""
        query = f"{_PENDING} WHERE status = 0 AND path > ? ORDER BY path LIMIT ?"
        after = ""
        while rows := self._db.execute(query, (after, page)).fetchall():
            yield from map(PendingFile._make, rows)
            after = rows[-1][1]

    def staged_files(self, numbers: Iterable[int]) -> Iterator[PendingFile]:
        """Files of this start's discovery by their numbers, done or not."""
        query = f"{_PENDING} WHERE id = ?"
        for number in numbers:
            yield from map(PendingFile._make, self._db.execute(query, (number,)))

    def record(self, slices: Iterable[SliceRow], files: Iterable[FileRow], forget: Iterable[int] = ()) -> None:
        """One transaction: drop the slices of `forget` and of failed files, then add slices and mark files as done."""
        slices, files = list(slices), list(files)
        drop = [*forget, *(row.file for row in files if row.status == FAILED)]
        masks = [(row.file, row.idx, row.labels) for row in slices if row.labels is not None]
        named = {row.series for row in files if row.series is not None}
        with self._transaction():
            for table in ("slice", "mask", "picture"):
                self._db.executemany(f"DELETE FROM {table} WHERE file = ?", ((number,) for number in drop))
            self._db.executemany("INSERT INTO slice VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (row[:9] for row in slices))
            self._db.executemany("INSERT INTO mask VALUES (?, ?, ?)", masks)
            self._db.executemany("INSERT OR IGNORE INTO series (name, study, info) VALUES (?, ?, ?)", named)
            self._db.executemany(
                "UPDATE file SET status = ?, reason = ?, sha256 = ?, window = ?,"
                " series = (SELECT id FROM series WHERE name = ?) WHERE id = ?",
                (
                    (row.status, row.reason, row.sha256, row.window, row.series and row.series.name, row.file)
                    for row in files
                ),
            )

    def rows(self) -> Iterator[ResultRow]:
        """Every result so far, by path and index; streamed."""
        return (ResultRow(*row) for row in self._db.execute(_ROWS.format(order=_BY_PATH)))

    def rows_by_series(self) -> Iterator[ResultRow]:
        """The same rows, series by series, along each; those without a series first; streamed."""
        return (ResultRow(*row) for row in self._db.execute(_ROWS.format(order=_BY_SERIES)))

    def sources(self) -> Iterator[SourceRow]:
        """The slices of the files that this start found, series by series, along each; streamed."""
        query = (
            "SELECT file.id, file.path, found.place, found.kind, found.container, found.member, found.mtime_ns,"
            " file.sha256, series.id, coalesce(slice.idx, 0), coalesce(slice.status, file.status),"
            " coalesce(slice.reason, file.reason), slice.position, mask.labels IS NOT NULL"
            " FROM file JOIN found USING (path) LEFT JOIN slice ON slice.file = file.id"
            " LEFT JOIN series ON series.id = file.series"
            " LEFT JOIN mask ON mask.file = slice.file AND mask.idx = slice.idx"
            f" WHERE file.status != 0 ORDER BY {_BY_SERIES}"
        )
        return (SourceRow._make((*row[:-1], bool(row[-1]))) for row in self._db.execute(query))

    def series(self) -> dict[int, SeriesRow]:
        """All series by number."""
        return {number: SeriesRow(*rest) for number, *rest in self._db.execute("SELECT * FROM series")}

    def parts(self) -> list[PartRow]:
        """What is in the parts of the last `adopt` with a scope: of files that are done, by part, study and series."""
        query = (
            "SELECT coalesce(file.part, file.path) AS whole, series.study, series.id, count(*),"
            " sum(coalesce(slice.status, file.status) = 2), sum(coalesce(slice.status, 0) = 3 AND slice.p0 IS NULL)"
            " FROM file LEFT JOIN slice ON slice.file = file.id LEFT JOIN series ON series.id = file.series"
            " WHERE whole IN (SELECT part FROM scope) AND file.status != 0"
            " GROUP BY whole, series.study, series.id ORDER BY whole, series.study, series.name"
        )
        return [PartRow(*row) for row in self._db.execute(query)]

    def mask(self, file: int, index: int) -> bytes | None:
        """The compressed mask of a segmented slice."""
        row = self._db.execute("SELECT labels FROM mask WHERE file = ? AND idx = ?", (file, index)).fetchone()
        return None if row is None else row[0]

    def pictures(self) -> Iterator[PictureRow]:
        """All small pictures, by file and index; streamed."""
        return map(PictureRow._make, self._db.execute("SELECT * FROM picture ORDER BY file, idx"))

    def pictured(self) -> set[tuple[int, int]]:
        """(file, index) of the slices that have a picture."""
        return set(self._db.execute("SELECT file, idx FROM picture"))

    def keep_pictures(self, wanted: Iterable[tuple[int, int]], new: Iterable[PictureRow]) -> None:
        """One transaction: drop the pictures that are not among `wanted`, and add new ones."""
        with self._transaction():
            drop = self.pictured() - set(wanted)
            self._db.executemany("DELETE FROM picture WHERE file = ? AND idx = ?", drop)
            self._db.executemany("INSERT OR REPLACE INTO picture VALUES (?, ?, ?, ?, ?)", new)

    def labels(self) -> dict[int, int]:
        """Classified slices per label, of files that are done."""
        query = (
            "SELECT label, count(*) FROM slice JOIN file ON file.id = slice.file"
            " WHERE label IS NOT NULL AND file.status = 1 GROUP BY label"
        )
        return dict(self._db.execute(query))

    def unsure(self) -> int:
        """Slices without a class because the network was unsure, of files that are done."""
        return self._abstained("p0 IS NOT NULL")

    def withheld(self) -> int:
        """Slices that an input gate kept from the network, of files that are done."""
        return self._abstained("p0 IS NULL")

    def _abstained(self, which: str) -> int:
        query = (
            "SELECT count(*) FROM slice JOIN file ON file.id = slice.file"
            f" WHERE slice.status = 3 AND file.status = 1 AND {which}"
        )
        return int(self._db.execute(query).fetchone()[0])

    def failed(self) -> int:
        """Failed rows: files, and slices of files that are done."""
        query = "SELECT (SELECT count(*) FROM file WHERE status = 2) + (SELECT count(*) FROM slice WHERE status = 2)"
        return int(self._db.execute(query).fetchone()[0])

    def reasons(self, most: int = 50) -> dict[str, int]:
        """Failed rows per reason, the `most` frequent first."""
        return self._most_frequent(
            "SELECT reason FROM file WHERE status = 2 UNION ALL SELECT reason FROM slice WHERE status = 2", most
        )

    def withheld_reasons(self, most: int = 50) -> dict[str, int]:
        """Slices that an input gate kept from the network, per reason, the `most` frequent first."""
        return self._most_frequent(
            "SELECT slice.reason FROM slice JOIN file ON file.id = slice.file"
            " WHERE slice.status = 3 AND file.status = 1 AND p0 IS NULL",
            most,
        )

    def _most_frequent(self, reasons: str, most: int) -> dict[str, int]:
        query = f"SELECT reason, count(*) AS n FROM ({reasons}) GROUP BY reason ORDER BY n DESC, reason LIMIT ?"
        return dict(self._db.execute(query, (most,)))

    def note(self, key: str, value: str) -> None:
        """Keep a value of the run under a name of its own."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def noted(self, key: str) -> str | None:
        """What `note` kept."""
        return self._meta(key)

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            if "full" not in str(error) and "I/O" not in str(error):
                raise
            raise OutputError(
                f"The ledger {self.path} cannot be written ({error}).", fix="make room, and run the same command again"
            ) from error


def _part(path: str, name: Callable[[str], str]) -> str | None:
    """What is written of the first of a path's folders; None if it has none."""
    first, slash, _ = path.partition("/")
    return name(first) if slash else None
