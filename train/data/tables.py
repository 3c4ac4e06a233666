"""Tables that come with pictures (targets.csv, patients.csv), as spreadsheets and programs write them.

    separators   comma, semicolon (where a comma is the decimal sign) or tab; Excel's line `sep=;`
    encodings    UTF-8 and UTF-16 with a byte order mark, UTF-8 without, else Windows-1252
    names        any case, spaces around them; empty lines are skipped

Knows nothing of what the columns mean.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lits_deploy.errors import DataError
from lits_deploy.spreadsheet import exact

_SEPARATORS = ",;\t"
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Row(NamedTuple):
    """A row: its number among the lines of the table, its file, and its other cells by column (in small letters)."""

    line: int
    file: str
    cells: dict[str, str]


@dataclass(frozen=True)
class EncodedTable:
    """guessed: the encoding is not declared, and not UTF-8: taken as Windows-1252."""

    rows: tuple[Row, ...]
    guessed: bool


def read_table(path: Path, needs: Sequence[str]) -> EncodedTable:
    """A table with a column `file`; Row.file is its last part, so `images/a.png` and `images\\a.png` are a.png.

    needs: columns it must have. Raises DataError where it lacks one, or is no table.
    """
    text, guessed = _decoded(path)
    text, separator = _separated(text)
    try:
        lines = list(_lines(text, separator))
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV ({error}).", fix="save it as CSV in UTF-8") from error
    columns = tuple(cell.strip().lower() for cell in lines[0][1]) if lines else ()
    if not set(needs) <= set(columns):
        raise DataError(f"{path} needs the columns {' and '.join(needs)}.", fix=f"begin it with {','.join(needs)}")
    rows = []
    for number, cells in lines[1:]:
        row = {name: exact(cell) for name, cell in zip(columns, cells, strict=False)}
        file = row.pop("file", "")
        values = {name: row.get(name, "").strip() for name in columns if name != "file"}
        rows.append(Row(number, re.split(r"[/\\]", file)[-1], values))
    return EncodedTable(tuple(rows), guessed)


def _decoded(path: Path) -> tuple[str, bool]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).", fix="mend or remove it") from error
    try:
        for bom, encoding in _BOMS:
            if data.startswith(bom):
                return data.decode(encoding), False
        if b"\0" in data:
            what = "a workbook" if data.startswith(b"PK") else "no text"
            raise DataError(f"{path} is {what}, not CSV.", fix="save it as CSV in UTF-8")
        try:
            return data.decode(), False
        except UnicodeDecodeError:
            return data.decode("cp1252"), True
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} cannot be read as CSV: it is neither UTF-8, UTF-16 nor Windows-1252.",
            fix="save it as CSV in UTF-8",
        ) from error


def _separated(text: str) -> tuple[str, str]:
    """The text, and what separates its cells, by the first line."""
    if declared := re.match(r"sep=([,;\t])\r?\n", text):  # of Excel; the empty line keeps the numbers of lines right
        return "\n" + text[declared.end() :], declared[1]
    first = next((line for line in text.split("\n") if line.strip()), "")
    return text, max(_SEPARATORS, key=first.count)  # the first of equals: a comma


def _lines(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells
