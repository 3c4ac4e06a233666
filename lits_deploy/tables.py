"""A table in CSV, Parquet or JSON lines: the same columns and rows, streamed, whole or not at all.

Equal rows give equal bytes. Knows nothing about what the rows mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from lits_deploy.errors import OutputError, UserError
from lits_deploy.files import atomic_path
from lits_deploy.printable import json_line
from lits_deploy.spreadsheet import CsvWriter

FORMATS = ("csv", "parquet", "jsonl")
ROW_GROUP = 16_384

Row = tuple[Any, ...]


def check_formats(formats: Iterable[str]) -> None:
    """Raise UserError for names that are not in FORMATS."""
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise UserError(f"`{', '.join(unknown)}` is not a result format.", fix=f"use {', '.join(FORMATS)}")


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """A table's name, its columns, and which of them are whole numbers; floats are told by their values.

    integers: column → bits. floats: columns that hold floats, float32 in Parquet.
    """

    name: str
    columns: Sequence[str]
    integers: dict[str, int] = field(default_factory=dict)
    floats: Sequence[str] = ()

    def path(self, folder: Path, kind: str) -> Path:
        """Where the table of a format lies."""
        return folder / f"{self.name}.{kind}"

    def write(self, folder: Path, kind: str, rows: Iterable[Row]) -> Path:
        """Write the rows, None where a cell is empty; the path. Raises OutputError where the folder is not writable."""
        path = self.path(folder, kind)
        writer = {"csv": self._csv, "parquet": self._parquet, "jsonl": self._jsonl}[kind]
        try:
            with atomic_path(path) as temporary:
                writer(temporary, rows)
        except OSError as error:
            raise OutputError(f"{path} cannot be written ({error.strerror or error}).", fix="make room") from error
        return path

    def schema(self, columns: Sequence[str] | None = None) -> Any:
        """The `pyarrow.Schema` of these columns [all], those that it does not know as text. Needs pyarrow."""
        import pyarrow

        widths = {8: pyarrow.int8(), 32: pyarrow.int32(), 64: pyarrow.int64()}
        special = {name: widths[bits] for name, bits in self.integers.items()}
        special |= dict.fromkeys(self.floats, pyarrow.float32())
        return pyarrow.schema([(name, special.get(name, pyarrow.string())) for name in columns or self.columns])

    def _csv(self, path: Path, rows: Iterable[Row]) -> None:
        """RFC 4180 in UTF-8 with `\\n`; floats with six decimals, text that no spreadsheet runs (`spreadsheet`)."""
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = CsvWriter(stream)
            writer.writerow(self.columns)
            writer.writerows([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row] for row in rows)

    def _jsonl(self, path: Path, rows: Iterable[Row]) -> None:
        """One JSON object a line; floats rounded to six decimals, null where a cell is empty."""
        with path.open("w", encoding="utf-8", newline="") as stream:
            for row in rows:
                cells = (round(cell, 6) if isinstance(cell, float) else cell for cell in row)
                stream.write(json_line(dict(zip(self.columns, cells, strict=True))) + "\n")

    def _parquet(self, path: Path, rows: Iterable[Row]) -> None:
        """Typed columns, in row groups of ROW_GROUP."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise UserError("Parquet needs pyarrow, which is not installed.", fix="pip install pyarrow") from error
        schema = self.schema()
        with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            for group in _groups(rows):
                columns = [pyarrow.array(cells, field.type) for cells, field in zip(zip(*group), schema)]  # noqa: B905
                writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP)


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while group := list(islice(iterator, ROW_GROUP)):
        yield group
