"""Is a ledger what was written? The file by SQLite's own check, its rows by their digests (`ledger.digest`)."""

from __future__ import annotations

import sqlite3
from functools import cache
from pathlib import Path
from urllib.parse import quote

from lits_deploy.ledger import digest, schema
from lits_deploy.ledger.rows import PENDING
from lits_deploy.printable import printable

_SIGNS = ("malformed", "not a database", "corrupt", "Could not decode")
"""What SQLite says of a damaged file, whatever was asked of it."""

_TABLES = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"

Unreadable = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file may raise; the second where SQLite's own message quotes it."""


def is_damage(db: sqlite3.Connection, error: BaseException | None) -> bool:
    """Whether an error comes of a damaged file; where its words do not tell, the file is looked at."""
    if not isinstance(error, Unreadable):
        return False
    if isinstance(error, sqlite3.Error) and any(sign in str(error) for sign in _SIGNS):
        return True
    if isinstance(error, sqlite3.OperationalError):  # a full disk, a lock, a bug in a statement
        return False
    try:
        return pages(db) is not None
    except Unreadable:
        return True


def damage(error: BaseException) -> str:
    """What an error says of a damaged file, without what it quotes from it."""
    return printable(str(error).partition(" with text ")[0].partition(" - near ")[0])


def tables(db: sqlite3.Connection, version: int = schema.SCHEMA) -> str | None:
    """What is wrong with the descriptions of the tables, which say where in a row a column lies; or None. version: the
    ledger's schema."""
    found = dict(db.execute(_TABLES))
    may_lack = {"beside", *(schema.ADDED[step] for step in range(version, schema.SCHEMA))}
    for name, description in _described().items():
        if found.get(name, description if name in may_lack else None) != description:
            return f"table `{name}` is not as it was made"
    return None


@cache
def _described() -> dict[str, str]:
    db = sqlite3.connect(":memory:")
    for script in (schema.TABLES, schema.NEIGHBOURS):
        db.executescript(script)
    described = dict(db.execute(_TABLES))
    db.close()
    return described


def other_schema(version: int) -> tuple[str, str]:
    """What a ledger is of whose schema no step leads on, and what to do. Its rows are never read: older ones have no
    digests, which nobody can add later, for they would vouch for rows that may have been altered since."""
    if version > schema.SCHEMA:
        return f"is of a newer lits-deploy (schema {version}; this one reads {schema.SCHEMA})", "update lits-deploy"
    return (
        f"is of an older lits-deploy (schema {version}; this one reads {schema.SCHEMA}): its rows cannot be checked",
        "run it again with --overwrite (all is done again, pseudonyms stay), --out elsewhere, or use the lits-deploy "
        "that made it",
    )


def pages(db: sqlite3.Connection, *, indices: bool = False) -> str | None:
    """What is wrong with the file's pages, or None; indices: also whether they lead to the rows that they name."""
    (found,) = db.execute(f"PRAGMA main.{'integrity_check' if indices else 'quick_check'}(1)").fetchone()
    return None if found == "ok" else printable(found.splitlines()[-1])


def rows(db: sqlite3.Connection) -> str | None:
    """What is wrong with pages, indices and rows, or None. Streamed: memory does not grow with them."""
    if (found := pages(db, indices=True)) is not None:
        return found
    for number, status, noted, now in digest.of_all(db):
        if noted != (None if status == PENDING else now):
            return f"the rows of file {number} are not those that were written"
    for table, columns in (("meta", "key, value"), ("header", "token, study, patient, info")):
        for *cells, noted in db.execute(f"SELECT {columns}, digest FROM {table}"):
            if noted != digest.of(*cells):
                return f"a row of `{table}` is not the one that was written"
    known = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('identity', 'run_id')"))
    if "identity" not in known:
        return "its files belong to no run" if db.execute("SELECT 1 FROM file LIMIT 1").fetchone() else None
    if known.get("run_id") != digest.run_id(db, known["identity"]):
        return "its files are not those of its run"
    lost = "SELECT 1 FROM slice WHERE file NOT IN (SELECT id FROM file) LIMIT 1"
    return "it has slices of no file" if db.execute(lost).fetchone() else None


def at_rest(path: Path) -> str:
    """A URI to read a ledger by that nobody writes to any more: nothing is locked, or made beside it."""
    return f"file:{quote(str(path))}?mode=ro&immutable=1"


def examine(path: Path, *, at_rest: bool = False) -> tuple[str, str] | None:
    """What is wrong with the ledger of that name and what to do, or None; nothing is written, and a run may be at it,
    unless it is `at_rest`.

    Raises sqlite3.Error where it cannot be opened.
    """
    more = "&immutable=1" if at_rest else ""
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro{more}", uri=True, isolation_level=None)
    try:
        db.execute("BEGIN")  # one moment of it, whatever a run writes meanwhile
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != schema.SCHEMA and version not in schema.STEPS:
            return other_schema(version)
        found = tables(db, version)
        if found is None:
            for step in range(version, schema.SCHEMA):  # what the next run adds, it has none of
                db.execute(schema.STEPS[step].replace("CREATE TABLE", "CREATE TEMP TABLE"))
            found = rows(db)
    except Unreadable as error:
        if not is_damage(db, error):
            raise
        found = damage(error)
    finally:
        db.close()
    return (
        None
        if found is None
        else (f"damaged ({found})", "put a copy of it in its place, or classify --overwrite: all is done again")
    )
