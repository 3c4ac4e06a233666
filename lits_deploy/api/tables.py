"""The tables of a run, read again as Arrow tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from os import fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from lits_deploy.api.parameters import parameters_named
from lits_deploy.api.paths import AnyPath
from lits_deploy.errors import MissingExtra, OutputError, UserError
from lits_deploy.pipeline.output import RUN_JSON
from lits_deploy.results import ALL, PAIR_SLICES
from lits_deploy.run_json import read_run_json
from lits_deploy.spreadsheet import read_rows
from lits_deploy.storage import Store, path_or_url, store_at
from lits_deploy.tables import ResultTable

if TYPE_CHECKING:
    import pyarrow

TableName = Literal["slices", "studies", "volumes", "masks"]

_BEST = ("parquet", "jsonl", "csv")  # the first of them that a run wrote is read

_TABLES = {one.name: one for one in (*ALL, PAIR_SLICES)}  # a pair's slices have the columns of all


@parameters_named()
def read_results(out: AnyPath, table: TableName = "slices") -> pyarrow.Table:
    """A table of the results in `out`, a folder or s3://…: rows and columns as written, null where a cell is empty.

    Whichever format the run wrote; probabilities are float32, and of six decimals unless there is a Parquet file.
    `.to_pandas()` of it needs pandas, `.to_pylist()` nothing. Raises OutputError where there are no such results,
    StorageError.
    """
    try:
        import pyarrow  # noqa: F401 - before anything is fetched
    except ImportError as error:
        raise MissingExtra("pyarrow", "cpu") from error
    shape, where = _table(table), path_or_url(fspath(out))
    with TemporaryDirectory(prefix="lits-deploy-") as fetched:
        folder = where if isinstance(where, Path) else Path(fetched)
        store = None if isinstance(where, Path) else store_at(where)
        _fetch(store, folder / RUN_JSON)
        written = {str(name) for name in read_run_json(folder / RUN_JSON).get("tables", ())}
        kind = next((kind for kind in _BEST if shape.path(folder, kind).name in written), None)
        if kind is None:
            raise OutputError(f"{where} has no table `{table}`.", fix=f"it has {', '.join(sorted(written)) or 'none'}")
        _fetch(store, shape.path(folder, kind))
        return _read(folder, kind, shape)


def _fetch(store: Store | None, path: Path) -> None:
    """Have a file of results in a store here, too."""
    if store is not None:
        try:
            store.get(path.name, path)
        except FileNotFoundError as error:
            raise OutputError(
                f"{store.location} has no {path.name}.", fix="run the command that made it once more"
            ) from error


def _read(folder: Path, kind: str, shape: ResultTable) -> pyarrow.Table:
    import pyarrow

    path = shape.path(folder, kind)
    try:
        if kind == "parquet":
            from pyarrow import parquet

            return parquet.read_table(path, partitioning=None)
        columns, rows = _jsonl(path) if kind == "jsonl" else _csv(path, shape)
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror or error}).", fix="run the command again") from error
    except (ValueError, pyarrow.ArrowException) as error:
        raise OutputError(f"{path} is no table of lits-deploy.", fix=f"lits-deploy report {folder}") from error
    schema = shape.schema(columns or shape.columns)
    return pyarrow.Table.from_pylist(rows, schema=schema)


def _table(name: str) -> ResultTable:
    if name not in _TABLES:
        raise UserError(f"`{name}` is no table.", fix=f"use {', '.join(_TABLES)}")
    return _TABLES[name]


def _csv(path: Path, shape: ResultTable) -> tuple[list[str], list[dict[str, Any]]]:
    with path.open(encoding="utf-8", newline="") as stream:
        columns = stream.readline().rstrip("\r\n").split(",")
        stream.seek(0)
        return columns, [dict(_typed(row, shape)) for row in read_rows(stream)]


def _typed(row: Mapping[str, str], shape: ResultTable) -> Iterator[tuple[str, Any]]:
    for name, cell in row.items():
        if cell == "":
            yield name, None
        elif name in shape.integers:
            yield name, int(cell)
        else:
            yield name, float(cell) if name in shape.floats else cell


def _jsonl(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    with path.open(encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    return list(rows[0]) if rows else [], rows
