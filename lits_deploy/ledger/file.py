"""The ledger's file: opened, checked, closed, with notes and transactions; what its rows mean is `ledger.store`'s."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from lits_deploy import private
from lits_deploy.errors import LedgerError, OutputError
from lits_deploy.ledger import check, digest, schema

FILE_NAME = "ledger.sqlite"
_LEAST_ROOM = 1 << 20
"""Bytes: an empty ledger with its log and index takes 150 kB, and SQLite wants more at once."""

_OPEN = "open"  # noted while a process is at it


class LedgerFile:
    """The open file; one process at a time (`pipeline.output` holds the lock)."""

    def __init__(self, folder: Path) -> None:
        """Open or make the ledger of a folder; OutputError where its disk cannot carry one, LedgerError for a damaged
        one. Its pages are checked if the last process at it was killed, or the machine lost its power."""
        self.path = folder / FILE_NAME
        self._checked = False
        try:  # SQLite would leave the file's mode to the umask; -wal and -shm get that of the file
            os.close(private.create(self.path))
        except FileExistsError:
            self.set_mode(self.path.stat().st_mode & 0o640)
        except OSError as error:
            raise self._unkept(error) from error
        killed = (folder / f"{FILE_NAME}-wal").exists()  # a good end removes it
        try:
            # By a URI, so that other ledgers can be attached by one (`ledger.absorb`).
            self._db = sqlite3.connect(f"file:{quote(str(self.path))}", uri=True, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unkept(error) from error
        try:
            self._prepare(killed)
        except check.Unreadable as error:
            damaged = check.is_damage(self._db, error)
            self._db.close()
            raise (self._damaged(check.damage(error)) if damaged else self._unkept(error)) from error
        except OutputError:
            self._db.close()
            raise

    def _prepare(self, killed: bool) -> None:
        mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"its journal mode is {mode}, not WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise self._damaged("it has tables and no schema")
        if version == 0:
            with self._transaction():
                for statement in schema.TABLES.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {schema.SCHEMA}")
        elif version != schema.SCHEMA and version not in schema.STEPS:
            what, fix = check.other_schema(version)
            raise OutputError(f"The ledger {self.path} {what}.", fix=fix)
        if (found := check.tables(self._db, version or schema.SCHEMA)) is not None:
            raise self._damaged(found)
        for step in range(version or schema.SCHEMA, schema.SCHEMA):
            with self._transaction():
                self._db.execute(schema.STEPS[step])
                self._db.execute(f"PRAGMA user_version = {step + 1}")
        # A mark of its own, too: whoever looks into the ledger with another program takes the log of a killed run away.
        killed |= self._db.execute("SELECT 1 FROM meta WHERE key = ?", (_OPEN,)).fetchone() is not None
        if killed and (found := check.pages(self._db)) is not None:
            raise self._damaged(found)
        self._db.executescript(schema.FOUND + schema.RANKS)
        self.note(_OPEN, "")

    def _unkept(self, error: Exception) -> OutputError:
        if self._disk_is_full():  # SQLite calls it "disk I/O error" as often as "full"
            return OutputError(f"No room for the ledger {self.path} ({error}).", fix="make room, or --out elsewhere")
        return OutputError(
            f"The ledger {self.path} cannot be kept ({error}). It needs a local disk, not a network share.",
            fix="--ledger FOLDER on a local disk",
        )

    def _disk_is_full(self) -> bool:
        with suppress(OSError):
            disk = os.statvfs(self.path.parent)
            return disk.f_bavail * disk.f_frsize < _LEAST_ROOM
        return False

    def _damaged(self, what: str) -> LedgerError:
        return LedgerError(
            f"The ledger {self.path} is damaged ({what}); no result is written from it.",
            fix="put a copy of it in its place, or --overwrite: all is done again",
        )

    def check(self) -> None:
        """Raise LedgerError unless every row is the one that was written. Once it is known, not again before more
        results are recorded: it takes a second for 100,000 slices."""
        if self._checked:
            return
        try:
            found = check.rows(self._db)
        except check.Unreadable as error:
            if not check.is_damage(self._db, error):
                raise
            raise self._damaged(check.damage(error)) from error
        if found is not None:
            raise self._damaged(found)
        self._checked = True

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Close. What SQLite says of a damaged file becomes a LedgerError."""
        damaged = check.is_damage(self._db, error)
        if damaged or isinstance(error, LedgerError):
            self._db.close()  # the mark stays, so that whoever opens it next looks at its pages
        else:
            self.close()
        if error is not None and damaged:
            raise self._damaged(check.damage(error)) from error

    def set_mode(self, mode: int) -> None:
        """Give the ledger and what SQLite keeps beside it a mode."""
        for suffix in ("", "-wal", "-shm"):
            private.set_mode(self.path.with_name(f"{FILE_NAME}{suffix}"), mode)

    def close(self) -> None:
        """Close; the write-ahead log is folded in and removed."""
        with suppress(sqlite3.Error):  # of a full disk, or of a damaged file that nobody will read
            self._db.execute("DELETE FROM meta WHERE key = ?", (_OPEN,))
        self._db.close()

    def copy_to(self, path: Path) -> None:
        """Write a compact copy of it to a new file, as this one would be after a good end.

        Raises OutputError where there is no room for it.
        """
        os.close(private.create(path))
        try:
            self._db.execute("VACUUM main INTO ?", (str(path),))
            with closing(sqlite3.connect(path, isolation_level=None)) as copy:
                copy.execute("PRAGMA journal_mode = DELETE")
                copy.execute("DELETE FROM meta WHERE key = ?", (_OPEN,))
        except sqlite3.OperationalError as error:
            path.unlink(missing_ok=True)
            raise OutputError(
                f"The ledger {self.path} cannot be copied ({error}).", fix="make room, and run the same command again"
            ) from error

    def note(self, key: str, value: str) -> None:
        """Keep a value of the run under a name of its own."""
        with self._transaction():
            self._keep({key: value})

    def _keep(self, values: Mapping[str, str]) -> None:
        rows = ((key, value, digest.of(key, value)) for key, value in values.items())
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", rows)

    def noted(self, key: str) -> str | None:
        """What `note` kept."""
        row = self._db.execute("SELECT value, digest FROM meta WHERE key = ?", (key,)).fetchone()
        if row is not None and row[1] != digest.of(key, row[0]):
            raise self._damaged(f"its note `{key}` is not as it was written")
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
