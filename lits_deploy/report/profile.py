"""A series along the body as a row of columns, one a slice, however many slices there are.

Knows nothing about ledgers' files or about SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lits_deploy import ledger
from lits_deploy.ledger import ResultRow

MOST_COLUMNS = 600
"""Columns of a strip; a longer series shows, of as many neighbours as it takes, the most suspicious."""

FULL_WIDTH = 24
"""Columns that fill the place of a strip: one of fewer is shorter, lest a single slice look like a whole liver."""

ABSTAINED, EXCLUDED, FAILED = 3, 4, 5
"""What a column is that has no class 0…2."""
_WITHOUT = {ledger.ABSTAINED: ABSTAINED, ledger.EXCLUDED: EXCLUDED}


@dataclass(frozen=True, kw_only=True)
class ProfileColumn:
    """One slice, or the most suspicious of some neighbours: lesion and liver probability (None: no answer), what it is
    (class 0…2, ABSTAINED, EXCLUDED, FAILED), and the index of its slice in the series."""

    p2: float | None
    p1: float | None
    what: int
    index: int


@dataclass(frozen=True, kw_only=True)
class SeriesProfile:
    """The columns of a series of `slices` slices, in order; `each`: slices in a column."""

    columns: tuple[ProfileColumn, ...]
    slices: int
    each: int

    @property
    def width(self) -> int:
        """Columns of the strip: it is as long as the series."""
        return max(1, len(self.columns))

    @property
    def share(self) -> float:
        """How much of its place the strip takes up, in percent."""
        return round(100 * min(1.0, self.width / FULL_WIDTH), 2)

    def column_of(self, index: int) -> int:
        """The column that shows the slice of an index."""
        return index // self.each


def profile(rows: Sequence[ResultRow]) -> SeriesProfile:
    """The profile of a series' rows, which are in order along it."""
    each = -(-len(rows) // MOST_COLUMNS) if rows else 1
    columns = [_column(index, row) for index, row in enumerate(rows)]
    shown = [max(columns[at : at + each], key=_weight) for at in range(0, len(columns), each)]
    return SeriesProfile(columns=tuple(shown), slices=len(rows), each=each)


def _column(index: int, row: ResultRow) -> ProfileColumn:
    what = row.label if row.label is not None else _WITHOUT.get(row.status, FAILED)
    p1, lesion = row.p1, row.lesion
    if row.log_odds is not None and row.p0 is not None and p1 is not None and lesion is not None:
        p1 = (1 - lesion) * p1 / max(row.p0 + p1, 1e-12)  # a pair's: the rest of 1 is parted as ever
    return ProfileColumn(p2=lesion, p1=p1, what=what, index=index)


def _weight(column: ProfileColumn) -> tuple[float, bool]:
    return (-1.0 if column.p2 is None else column.p2), column.what in (0, 1, 2)
