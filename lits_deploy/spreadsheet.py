"""CSV cells that no spreadsheet runs: text that would be taken for a formula gets an apostrophe before it.

    harmless    =cmd|'/c calc'!A1  →  '=cmd|'/c calc'!A1
    exact       the way back, for whoever reads such a table with a program

Text is risky where a cell begins with `= + - @` (full-width forms too, which East Asian settings take as well), a tab
or a carriage return, also behind spaces and apostrophes; and where that follows a `;`, a tab or a line break *within*
the cell, for some settings split a CSV there whatever its quotes say. Numbers are left as they are, also as text.
JSON lines and Parquet hold every text exactly. Knows nothing about tables.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Protocol

_RISKY = re.compile(r"(^|[;\t\r\n])('*)(?=[^\S\t\r\n]*[\ufeff\u200b]*[=+\-@\t\r＝＋－＠])")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Stream(Protocol):
    """What a table is written to."""

    def write(self, text: str, /) -> object:
        """Take the text of a row."""


@lru_cache(maxsize=1024)  # most columns of a table repeat a few texts
def harmless(cell: str) -> str:
    """The text with an apostrophe before whatever a spreadsheet would run."""
    if cell[:1].isalnum() and ";" not in cell and cell.isprintable():
        return cell  # nearly always
    return cell if _NUMBER.fullmatch(cell) else _RISKY.sub(r"\1'\2", cell)


def exact(cell: str) -> str:
    """The text that `harmless` was given; any other is returned as it is."""
    if "'" not in cell or _NUMBER.fullmatch(cell):
        return cell
    return _RISKY.sub(lambda found: found[1] + found[2][1:], cell)


class CsvWriter:
    """A writer of RFC 4180 rows with `\\n`, harmless in every text. Numbers are written as Python does."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        # Before Python 3.13 a cell is quoted for a carriage return only where the line ends in one.
        self._writer = csv.writer(self, lineterminator="\r\n")

    def write(self, text: str, /) -> object:
        """A row as the csv module ends it."""
        return self._stream.write(text[:-2] + "\n")

    def writerow(self, row: Iterable[Any]) -> None:
        """One row; None is an empty cell."""
        self._writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Many, streamed."""
        for row in rows:
            self.writerow(row)


def read_rows(stream: Iterable[str]) -> Iterator[dict[str, str]]:
    """The rows of a table that was written harmlessly, each cell exactly as it was."""
    for row in csv.DictReader(stream):
        yield {name: exact(cell) for name, cell in row.items()}


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as `CsvWriter` writes them."""
    text = io.StringIO()
    CsvWriter(text).writerows(rows)
    return text.getvalue()
