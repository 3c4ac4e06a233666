"""Which slices get a picture: the peaks of lesion probability in the most suspicious series."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lits_deploy.ledger import ResultRow, VolumeRow
from lits_deploy.studies import SeriesSummary, by_volume, ranked

SERIES, SLICES = 30, 6
"""Most series with pictures, and most pictures of one."""

WORTH = 0.1
"""Lesion probability below which a slice gets no picture, but for a series' highest, and no heat contour."""

SPREAD = 40
"""Pictures of a series of N slices lie at least N / SPREAD slices apart: six neighbours show one place six times."""

Key = tuple[int, int]
"""File and index of a slice."""


def chosen(rows: Iterable[ResultRow], volumes: Mapping[int, VolumeRow]) -> list[tuple[SeriesSummary, list[ResultRow]]]:
    """The most suspicious series with the slices to picture, the highest probability first.

    rows: volume by volume, in order (`Ledger.rows_by_volume`).
    """
    groups = ((summary, group) for summary, group in by_volume(rows, volumes) if summary.name is not None)
    own = {id(summary): (summary, peaks(group)) for summary, group in groups}
    order = [summary for summary in ranked(summary for summary, _ in own.values()) if summary.rank is not None]
    return [own[id(summary)] for summary in order[:SERIES]]


def peaks(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Up to SLICES of a series' answered slices: by lesion probability, apart from each other, none below WORTH but the
    first. Failed and excluded slices have no picture, and keep no distance."""
    answered = [row for row in rows if row.lesion is not None and row.file is not None]
    return [answered[index] for index in highest([row.lesion or 0.0 for row in answered])]


def highest(p2: Sequence[float]) -> list[int]:
    """The same of lesion probabilities along a series: indices of the peaks, the highest first."""
    gap = max(1, round(len(p2) / SPREAD))
    taken: list[int] = []
    for index in sorted(range(len(p2)), key=lambda index: (-p2[index], index)):
        if len(taken) == SLICES or (taken and p2[index] < WORTH):
            break
        if all(abs(index - other) >= gap for other in taken):
            taken.append(index)
    return taken
