"""The result tables: slices.csv, slices.parquet, slices.jsonl, the same columns and rows, written from the ledger.

    path index status reason label class_name p0 p1 p2 window sha256
    run_id bundle model artifact precision runtime contract

p0…p2 are calibrated: the artifact's temperature is applied. `status` is ok, failed (with its reason and no
probabilities) or abstain: probabilities, the reason and no class, because the network is less sure than the bundle
asks. `sha256` is the input file's; `bundle` and `contract` are the first 12 hex digits of theirs. No times, no rates,
no machine: equal inputs give equal bytes, however often a run was interrupted. Rows are streamed, so memory does not
grow with them. A path is written as it is (see `scans.paths`), also where a spreadsheet would take it for a formula:
open the CSV as text there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from lits_deploy.errors import OutputError, UserError
from lits_deploy.files import atomic_path
from lits_deploy.ledger import ABSTAINED, OK, ResultRow

PROVENANCE = ("run_id", "bundle", "model", "artifact", "precision", "runtime", "contract")
COLUMNS = (
    "path", "index", "status", "reason", "label", "class_name", "p0", "p1", "p2", "window", "sha256", *PROVENANCE,
)  # fmt: skip
FORMATS = ("csv", "parquet", "jsonl")
ROW_GROUP = 16_384
_STATUS = {OK: "ok", ABSTAINED: "abstain"}

Row = tuple[Any, ...]


def table_path(folder: Path, kind: str) -> Path:
    """Where the table of a format lies."""
    return folder / f"slices.{kind}"


def write_tables(
    folder: Path,
    kinds: Sequence[str],
    rows: Callable[[], Iterable[ResultRow]],
    *,
    classes: Sequence[str],
    provenance: Mapping[str, str],
) -> tuple[Path, ...]:
    """Write one table per format, each whole or not at all; their paths.

    rows: gives the ledger's rows anew for each table. classes: names of the labels. provenance: of PROVENANCE.
    Raises OutputError where the folder cannot be written.
    """
    constant = tuple(provenance[name] for name in PROVENANCE)
    writers = {"csv": _write_csv, "parquet": _write_parquet, "jsonl": _write_jsonl}
    paths = []
    for kind in kinds:
        path = table_path(folder, kind)
        try:
            with atomic_path(path) as temporary:
                writers[kind](temporary, (_complete(row, classes, constant) for row in rows()))
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror or error}).", fix="make room") from error
        paths.append(path)
    return tuple(paths)


def _complete(row: ResultRow, classes: Sequence[str], constant: Row) -> Row:
    """A row of the table, None where a cell is empty."""
    status = _STATUS.get(row.status, "failed")
    name = None if row.label is None else classes[row.label]
    return (
        row.path, row.idx, status, row.reason, row.label, name, row.p0, row.p1, row.p2, row.window, row.sha256,
        *constant,
    )  # fmt: skip


def _write_csv(path: Path, rows: Iterable[Row]) -> None:
    """RFC 4180 in UTF-8 with `\\n`; probabilities with six decimals."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row] for row in rows)


def _write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """One JSON object a line; probabilities rounded to six decimals, null where a cell is empty."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        for row in rows:
            cells = (round(cell, 6) if isinstance(cell, float) else cell for cell in row)
            stream.write(json.dumps(dict(zip(COLUMNS, cells, strict=True)), ensure_ascii=False) + "\n")


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    """Probabilities as float32, labels as int8, in row groups of ROW_GROUP."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("Parquet needs pyarrow, which is not installed.", fix="pip install pyarrow") from error
    special = {"index": pyarrow.int32(), "label": pyarrow.int8()}
    special |= dict.fromkeys(("p0", "p1", "p2"), pyarrow.float32())
    schema = pyarrow.schema([(name, special.get(name, pyarrow.string())) for name in COLUMNS])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(rows):
            columns = [pyarrow.array(cells, field.type) for cells, field in zip(zip(*group), schema)]  # noqa: B905
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP)


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while group := list(islice(iterator, ROW_GROUP)):
        yield group
