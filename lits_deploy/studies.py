"""From slices to series: how much liver, how much of it suspicious, and which series to look at first.

A series' *suspicion* is the highest mean of the calibrated lesion probability over three neighbouring slices: a
lesion is seen on neighbours, a slip of the network on one slice. Series of fewer slices: over all of them.
*Neighbours* are answered slices next to each other along the series; withheld and failed ones are not there.
Knows nothing about files or tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from statistics import fmean, median
from typing import Any

from lits_deploy.ledger import FAILED, ResultRow, SeriesRow

STUDY_COLUMNS = (
    "rank",
    "study",
    "series",
    "kind",
    "modality",
    "orientation",
    "slices",
    "answered",
    "unsure",
    "withheld",
    "failed",
    "slices_no_liver",
    "slices_liver",
    "slices_lesion",
    "liver_extent_mm",
    "longest_lesion_run",
    "lesion_run_mm",
    "max_p2",
    "mean_p2",
    "suspicion",
    "most_suspicious_path",
    "most_suspicious_index",
    "reason",
    "identifiers",
)
STUDY_INTEGERS = dict.fromkeys(
    (
        "rank",
        "slices",
        "answered",
        "unsure",
        "withheld",
        "failed",
        "slices_no_liver",
        "slices_liver",
        "slices_lesion",
        "longest_lesion_run",
        "most_suspicious_index",
    ),
    32,
)
STUDY_FLOATS = ("liver_extent_mm", "lesion_run_mm", "max_p2", "mean_p2", "suspicion")
NEIGHBOURS = 3


@dataclass(kw_only=True)
class SeriesSummary:
    """What the slices of one series add up to; mm where headers give positions, else None.

    slices: rows; answered: with probabilities, `unsure` of them without a class; classes: slices per label.
    liver_extent_mm: of the longest run of slices called liver or lesion, one slice's gap included; unsure slices do not
    end a run. longest_lesion_run: slices of such a run called
    lesion; lesion_run_mm: its extent. suspicion: see above; None without an answer.
    top: the slice of highest lesion probability. reason: the most frequent one among withheld and failed slices.
    """

    name: str | None
    study: str | None
    info: Mapping[str, Any]
    slices: int = 0
    answered: int = 0
    unsure: int = 0
    withheld: int = 0
    failed: int = 0
    classes: list[int] = field(default_factory=lambda: [0, 0, 0])
    liver_extent_mm: float | None = None
    longest_lesion_run: int = 0
    lesion_run_mm: float | None = None
    max_p2: float | None = None
    mean_p2: float | None = None
    suspicion: float | None = None
    top: ResultRow | None = None
    reason: str | None = None
    rank: int | None = None


def summaries(rows: Iterable[ResultRow], series: Mapping[int, SeriesRow]) -> list[SeriesSummary]:
    """One summary a series, ranked: the most suspicious first, those without an answer last and without a rank.

    rows: series by series, along each (`Ledger.rows_by_series`). Slices of one series are held in memory, no more.
    """
    return ranked(summary for summary, _ in by_series(rows, series))


def by_series(
    rows: Iterable[ResultRow], series: Mapping[int, SeriesRow]
) -> Iterator[tuple[SeriesSummary, list[ResultRow]]]:
    """Every series' summary, not ranked yet, with its rows, in the order of `rows`."""
    for number, group in groupby(rows, key=lambda row: row.series_id):
        own = list(group)
        yield _summary(None if number is None else series[number], own), own


def ranked(found: Iterable[SeriesSummary]) -> list[SeriesSummary]:
    """The summaries by suspicion, the highest first, and their `rank` set; those without an answer last."""
    ordered = sorted(found, key=lambda s: (-1.0 if s.suspicion is None else s.suspicion, s.max_p2 or 0.0), reverse=True)
    for place, summary in enumerate((s for s in ordered if s.suspicion is not None), start=1):
        summary.rank = place
    return ordered


def study_rows(rows: Iterable[ResultRow], series: Mapping[int, SeriesRow]) -> Iterator[tuple[Any, ...]]:
    """The rows of the study table, in the order of STUDY_COLUMNS, by rank."""
    for s in summaries(rows, series):
        info, identifiers = s.info, s.info.get("identifiers")
        yield (
            s.rank,
            s.study,
            s.name,
            info.get("kind"),
            info.get("modality"),
            info.get("orientation"),
            s.slices,
            s.answered,
            s.unsure,
            s.withheld,
            s.failed,
            *s.classes,
            s.liver_extent_mm,
            s.longest_lesion_run,
            s.lesion_run_mm,
            s.max_p2,
            s.mean_p2,
            s.suspicion,
            s.top and s.top.path,
            s.top and s.top.idx,
            s.reason,
            None if identifiers is None else json.dumps(identifiers, ensure_ascii=False, sort_keys=True),
        )


def _summary(series: SeriesRow | None, rows: Sequence[ResultRow]) -> SeriesSummary:
    info = json.loads(series.info) if series else {}
    summary = SeriesSummary(name=series and series.name, study=series and series.study, info=info, slices=len(rows))
    answered = [row for row in rows if row.p2 is not None or row.label is not None]
    summary.answered = len(answered)
    summary.unsure = sum(row.label is None for row in answered)
    summary.failed = sum(row.status == FAILED for row in rows)
    summary.withheld = len(rows) - len(answered) - summary.failed
    for row in answered:
        if row.label is not None:
            summary.classes[row.label] += 1
    spoken = [(row.reason, row) for row in rows if row.reason is not None and row.p2 is None]
    if spoken:
        reasons = [reason for reason, _ in spoken]
        summary.reason = max(sorted(set(reasons)), key=reasons.count)
    in_mm = info.get("kind") != "picture"
    liver = longest_run([None if row.label is None else row.label >= 1 for row in answered])
    lesion = longest_run([None if row.label is None else row.label == 2 for row in answered])
    summary.longest_lesion_run = 0 if lesion is None else lesion[1] - lesion[0]
    if in_mm:
        summary.liver_extent_mm, summary.lesion_run_mm = (_extent(answered, run) for run in (liver, lesion))
    p2 = [row.p2 for row in answered if row.p2 is not None]
    if p2:
        summary.max_p2, summary.mean_p2 = max(p2), fmean(p2)
        summary.suspicion = suspicion(p2)
        summary.top = max(answered, key=lambda row: -1.0 if row.p2 is None else row.p2)
    return summary


def suspicion(p2: Sequence[float]) -> float | None:
    """The highest mean over NEIGHBOURS of lesion probabilities along a series; None of none."""
    width = min(NEIGHBOURS, len(p2))
    return max((fmean(p2[start : start + width]) for start in range(len(p2) - width + 1)), default=None) if p2 else None


def longest_run(flags: Sequence[bool | None]) -> tuple[int, int] | None:
    """(first, last + 1) of the longest run of True; None (unsure) neither begins, ends nor breaks one."""
    best: tuple[int, int] | None = None
    start = last = None
    for place, flag in enumerate([*flags, False]):
        if flag:
            start, last = (place if start is None else start), place
        elif flag is False and start is not None and last is not None:
            if best is None or last + 1 - start > best[1] - best[0]:
                best = (start, last + 1)
            start = last = None
    return best


def _extent(rows: Sequence[ResultRow], run: tuple[int, int] | None) -> float | None:
    """mm from the first to the last slice of a run, and one slice's gap; None where positions are not known."""
    positions = [row.position for row in rows if row.position is not None]
    if run is None or len(positions) != len(rows):
        return None
    gaps = [b - a for a, b in pairwise(positions) if b > a]
    return positions[run[1] - 1] - positions[run[0]] + (median(gaps) if gaps else 0.0)
