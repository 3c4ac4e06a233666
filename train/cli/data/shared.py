"""What the commands of `data` share: the table of slices per class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lits_deploy.cli.console import table
from lits_deploy.contract import CLASSES


def class_table(first: str, rows: Iterable[tuple[str, str, Sequence[int], int]], *, right: int = 1) -> None:
    """Print slices per class. first: heading of the names; rows: name, patients, slices of each class, all slices.

    right: the column from which on all are aligned to the right.
    """
    header = (first, "patients", *(f"{k} {name}" for k, name in enumerate(CLASSES)), "slices")
    cells = [
        (name, people, *(f"{n:,} ({100 * n / max(1, sum(counts)):.1f} %)" for n in counts), f"{slices:,}")
        for name, people, counts, slices in rows
    ]
    table(header, cells, right=header[right:])
