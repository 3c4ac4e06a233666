"""Helpers for tests that classify a folder: run, read the table, find the decode workers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from fake_runtime import FakeRuntime
from lits_deploy.bundle import Bundle
from lits_deploy.ledger import FILE_NAME
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions, RunSummary
from lits_deploy.pipeline.run import run_folder
from lits_deploy.scans import READERS, SUFFIXES
from lits_deploy.scans.listing import Listing
from lits_deploy.spreadsheet import read_rows

SIZE = 64
SALT = "the same in every test, so that tables compare"

SUFFIXES[".test"], READERS["test"] = "test", "hostile_reader"  # workers are told a reader's name


@contextmanager
def read_tricks_as(kind: str, reader: str = "hostile_reader") -> Iterator[None]:
    """Within, `.test` files are of that kind, and all files of the kind are that reader's."""
    with mock.patch.dict(SUFFIXES, {".test": kind}), mock.patch.dict(READERS, {kind: reader}):
        yield


def classify(bundle: Bundle, scans: Path | list[Path] | Listing, out: Path, **arguments: Any) -> RunSummary:
    """`run_folder` on a fake network; options, hooks, `only` of a listing and arguments may be mixed."""
    options = ClassifyOptions(**{"salt": SALT, **fields_of(ClassifyOptions, arguments)})
    hooks, only = RunHooks(**fields_of(RunHooks, arguments)), arguments.pop("only", None)
    roots: Any = [scans] if isinstance(scans, Path) else scans
    listed = roots if only is None else options.listing(roots, out, only=only)
    runtime = arguments.pop("network", None) or FakeRuntime(shape=bundle.manifest.contract.shape)
    return run_folder(bundle, listed, out, options=options, runtime=runtime, hooks=hooks, **arguments)


def fields_of(kind: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """What of these arguments a dataclass has, which leaves them."""
    return {name: arguments.pop(name) for name in list(arguments) if name in kind.__dataclass_fields__}


def rows(out: Path) -> list[dict[str, str]]:
    """The rows of slices.csv."""
    with (out / "slices.csv").open(encoding="utf-8", newline="") as stream:
        return list(read_rows(stream))


def outcome(out: Path) -> dict[str, str]:
    """Path → `ok` or the reason, for files with one slice."""
    return {row["path"]: row["reason"] or row["status"] for row in rows(out)}


def tricks(folder: Path, **files: str) -> Path:
    """Files for `hostile_reader`: name → what it does."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, trick in files.items():
        (folder / f"{name}.test").write_text(trick)
    return folder


def answered(out: Path) -> int:
    """Slices in the ledger of a run that another process may be at; 0 before there is one."""
    try:
        with sqlite3.connect(f"file:{out / FILE_NAME}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM slice").fetchone()[0])
    except sqlite3.Error:
        return 0


def workers_of(pid: int | None = None) -> list[psutil.Process]:
    """The decode workers of a process (of this one)."""
    children = psutil.Process(pid).children()
    return [child for child in children if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any("lits_deploy.decode.worker" in part for part in process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return False
