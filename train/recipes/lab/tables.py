"""Tables with printed and measured side by side, as Markdown for readers and CSV for programs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lits_deploy.spreadsheet import csv_text

DASH = "—"
Cell = float | int | str | None | Sequence[float | None]
"""A number, a word, nothing, or one number a seed."""


@dataclass(frozen=True)
class RecipeColumn:
    """key: in the CSV. title: for readers. of: the cell of one item; None: a row comes as a dictionary.

    digits: behind the point, of numbers with fractions.
    """

    key: str
    title: str
    of: Callable[..., Cell] | None = None
    digits: int = 2


@dataclass(frozen=True, kw_only=True)
class RecipeTable:
    """name: of its files. rows: cells by the columns' keys; a missing one is nothing. notes: said below it.

    split_by: patient or slice, where what is measured depends on it: stands in the title, and in the CSV as a column.
    """

    name: str
    title: str
    columns: tuple[RecipeColumn, ...]
    rows: Sequence[dict[str, Cell]]
    notes: Sequence[str] = field(default=())
    split_by: str | None = None

    @property
    def heading(self) -> str:
        """The title, with how the data was split."""
        return self.title if self.split_by is None else f"{self.title} (split by {self.split_by})"

    @property
    def header(self) -> list[str]:
        """Titles of the columns."""
        return [column.title for column in self.columns]

    def texts(self) -> list[list[str]]:
        """The cells as a reader sees them: of several seeds, mean ± standard deviation."""
        return [[_text(row.get(column.key), column.digits) for column in self.columns] for row in self.rows]

    def numeric(self) -> list[bool]:
        """Which columns hold numbers only, and are aligned to the right."""
        cells = [[row.get(column.key) for row in self.rows] for column in self.columns]
        return [not any(isinstance(cell, str) for cell in column) for column in cells]

    def markdown(self) -> str:
        """A Markdown table with its title and notes."""
        lines = [f"**{self.heading}**", ""]
        lines.append("| " + " | ".join(map(_escaped, self.header)) + " |")
        lines.append("|" + "|".join("---:" if right else "---" for right in self.numeric()) + "|")
        lines += ["| " + " | ".join(map(_escaped, row)) + " |" for row in self.texts()]
        lines += ["", *(f"{note}\n" for note in self.notes)]
        return "\n".join(lines).rstrip() + "\n"

    def csv(self) -> str:
        """Numbers in full; of several seeds the mean, and the standard deviation in a column of its own."""
        spread = [c.key for c in self.columns if any(len(_known(row.get(c.key))) > 1 for row in self.rows)]
        keys = [key for c in self.columns for key in ((c.key, f"{c.key}_sd") if c.key in spread else (c.key,))]
        rows = [keys]
        for row in self.rows:
            cells: list[str] = []
            for column in self.columns:
                cell = row.get(column.key)
                known = _known(cell)
                cells.append(cell if isinstance(cell, str) else _full(statistics.fmean(known)) if known else "")
                if column.key in spread:
                    cells.append(_full(statistics.stdev(known)) if len(known) > 1 else "")
            rows.append(cells)
        if self.split_by is not None:
            rows = [[*rows[0], "split_by"], *([*cells, self.split_by] for cells in rows[1:])]
        return csv_text(rows)

    def to_json(self) -> dict[str, Any]:
        """For result.json, from which the page is made."""
        return {
            "name": self.name,
            "title": self.heading,
            "header": self.header,
            "rows": self.texts(),
            "numeric": self.numeric(),
            "notes": list(self.notes),
        }


def row_of(columns: Sequence[RecipeColumn], item: Sequence[Any]) -> dict[str, Cell]:
    """What the columns make of an item, in order its own cells where no column has a function."""
    if not any(column.of for column in columns):
        return {column.key: cell for column, cell in zip(columns, item, strict=True)}
    return {column.key: column.of(*item) for column in columns if column.of is not None}


def _known(cell: Cell) -> list[float]:
    if cell is None or isinstance(cell, str):
        return []
    values = [cell] if isinstance(cell, (int, float)) else list(cell)
    return [float(value) for value in values if value is not None and math.isfinite(value)]


def _text(cell: Cell, digits: int) -> str:
    if isinstance(cell, str):
        return cell
    known = _known(cell)
    if not known:
        return DASH
    if isinstance(cell, int):
        return f"{cell:,}"
    mean = f"{statistics.fmean(known):,.{digits}f}".replace("-", "−")
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.{digits}f}"


def _full(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.7g}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
