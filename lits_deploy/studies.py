"""From slices to series: how much liver, how much of it suspicious, and which series to look at first.

A series' *suspicion* is the highest mean of the calibrated lesion probability (a pair's: by both networks) over three
neighbouring slices: a lesion is seen on neighbours, a slip of the network on one slice. Series of fewer slices: over
all of them.
*Neighbours* are answered slices next to each other along the series; excluded and failed ones are not there.
Knows nothing about files or tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from statistics import fmean, median
from typing import Any

import numpy as np

from lits_deploy.drift.compare import against
from lits_deploy.drift.portrait import Portrait, portrait
from lits_deploy.drift.reference import DriftReference
from lits_deploy.ledger import ABSTAINED, EXCLUDED, FAILED, ResultRow, VolumeRow

STUDY_COLUMNS = (
    *("rank", "study", "series", "part", "kind", "modality", "orientation", "ordered_by", "slices", "copies"),
    *("answered", "abstained", "excluded", "failed", "slices_no_liver", "slices_liver", "slices_lesion"),
    *("liver_extent_mm", "longest_lesion_run", "lesion_run_mm", "max_p2", "mean_p2", "suspicion"),
    *("most_suspicious_path", "most_suspicious_index", "most_suspicious_slice"),
    *("step_mm", "missing", "repeated", "irregular", "doubts", "copy_of", "against_training", "reason", "identifiers"),
)
STUDY_FLOATS = ("liver_extent_mm", "lesion_run_mm", "max_p2", "mean_p2", "suspicion", "step_mm")
_TEXTS = {"study", "series", "part", "kind", "modality", "orientation", "ordered_by", "most_suspicious_path", "doubts"}
_TEXTS |= {"copy_of", "against_training", "reason", "identifiers"}
STUDY_INTEGERS = dict.fromkeys((name for name in STUDY_COLUMNS if name not in (*STUDY_FLOATS, *_TEXTS)), 32)
NEIGHBOURS = 3


@dataclass(kw_only=True)
class SeriesSummary:
    """What the slices of one series, or of one part of it, add up to; mm where headers give positions, else None.

    info: what its header says; arranged: what `series` says of it (`ledger.ranks`); copy_of: the series of which it is
    wholly a copy, and so not ranked. Copies of slices are not counted, but in `copies`.
    slices: rows; answered: with probabilities, `abstained` of them without a class; classes: slices per label.
    liver_extent_mm: of the longest run of slices called liver or lesion, one slice's gap included; abstained slices do
    not end a run. longest_lesion_run: slices of such a run called lesion; lesion_run_mm: its extent. suspicion: see
    above; None without an answer. top: the slice of highest lesion probability. reason: the most frequent one among
    excluded and failed slices. portrait: the series in numbers, to be held against others (`drift`).
    """

    name: str | None
    study: str | None
    info: Mapping[str, Any]
    arranged: Mapping[str, Any]
    copy_of: str | None = None
    slices: int = 0
    copies: int = 0
    answered: int = 0
    abstained: int = 0
    excluded: int = 0
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
    portrait: Portrait = field(default_factory=Portrait)


def summaries(rows: Iterable[ResultRow], volumes: Mapping[int, VolumeRow]) -> list[SeriesSummary]:
    """One summary a volume, ranked: the most suspicious first, those without an answer last and without a rank.

    rows: volume by volume, in order (`Ledger.rows_by_volume`). Slices of one volume are held in memory, no more.
    """
    return ranked(summary for summary, _ in by_volume(rows, volumes))


def by_volume(
    rows: Iterable[ResultRow], volumes: Mapping[int, VolumeRow]
) -> Iterator[tuple[SeriesSummary, list[ResultRow]]]:
    """Every volume's summary, not ranked yet, with its rows less copies, in the order of `rows`."""
    for number, group in groupby(rows, key=lambda row: row.volume):
        everything = list(group)
        own = [row for row in everything if row.copy_of is None]
        yield _summary(None if number is None else volumes[number], own, copies=len(everything) - len(own)), own


def ranked(found: Iterable[SeriesSummary]) -> list[SeriesSummary]:
    """The summaries by suspicion, the highest first, and their `rank` set; copies and those without an answer last."""

    def order(s: SeriesSummary) -> tuple[bool, float, float]:
        return s.copy_of is None, -1.0 if s.suspicion is None else s.suspicion, s.max_p2 or 0.0

    ordered = sorted(found, key=order, reverse=True)
    counted = (s for s in ordered if s.suspicion is not None and s.copy_of is None)
    for rank, summary in enumerate(counted, start=1):
        summary.rank = rank
    return ordered


def by_number(rows: Iterable[ResultRow], volumes: Mapping[int, VolumeRow]) -> dict[int, SeriesSummary]:
    """The summaries of `summaries` by the number of their volume."""
    found = {}
    for summary, own in by_volume(rows, volumes):
        if own and own[0].volume is not None:
            found[own[0].volume] = summary
    ranked(found.values())
    return found


def study_rows(
    rows: Iterable[ResultRow], volumes: Mapping[int, VolumeRow], reference: DriftReference | None = None
) -> Iterator[tuple[Any, ...]]:
    """The rows of the study table, in the order of STUDY_COLUMNS, by rank. reference: of the bundle."""
    for s in summaries(rows, volumes):
        info, arranged, identifiers = s.info, s.arranged, s.info.get("identifiers")
        yield (
            s.rank,
            s.study,
            s.name,
            arranged.get("part") or None,
            info.get("kind"),
            info.get("modality"),
            info.get("orientation"),
            arranged.get("by"),
            s.slices,
            s.copies,
            s.answered,
            s.abstained,
            s.excluded,
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
            s.top and s.top.number,
            *(arranged.get(name) for name in ("step_mm", "missing", "repeated", "irregular")),
            "; ".join(arranged.get("doubts", ())) or None,
            s.copy_of,
            against(reference, s.portrait).sentence,
            s.reason,
            None if identifiers is None else json.dumps(identifiers, ensure_ascii=False, sort_keys=True),
        )


def _summary(volume: VolumeRow | None, rows: Sequence[ResultRow], *, copies: int) -> SeriesSummary:
    summary = SeriesSummary(
        name=volume and volume.name,
        study=volume and volume.study,
        info=json.loads(volume.info) if volume else {},
        arranged=json.loads(volume.arranged) if volume else {},
        copy_of=volume and volume.copy_of,
        slices=len(rows),
        copies=copies,
    )
    answered = [row for row in rows if row.p2 is not None or row.label is not None]
    summary.answered = len(answered)
    summary.abstained, summary.excluded, summary.failed = (
        sum(row.status == status for row in rows) for status in (ABSTAINED, EXCLUDED, FAILED)
    )
    for row in answered:
        if row.label is not None:
            summary.classes[row.label] += 1
    reasons = [row.reason for row in rows if row.reason is not None and row.p2 is None]
    if reasons:
        summary.reason = max(sorted(set(reasons)), key=reasons.count)
    liver = longest_run([None if row.label is None else row.label >= 1 for row in answered])
    lesion = longest_run([None if row.label is None else row.label == 2 for row in answered])
    summary.longest_lesion_run = 0 if lesion is None else lesion[1] - lesion[0]
    summary.portrait = _portrait(summary, rows)
    if summary.arranged.get("in_mm"):
        summary.liver_extent_mm, summary.lesion_run_mm = (_extent(answered, run) for run in (liver, lesion))
    p2 = [row.p2 for row in answered if row.p2 is not None]
    if p2:
        summary.max_p2, summary.mean_p2 = max(p2), fmean(p2)
        summary.suspicion = suspicion([row.lesion for row in answered if row.lesion is not None])
        summary.top = max(answered, key=lambda row: -1.0 if row.lesion is None else row.lesion)
    return summary


def _portrait(summary: SeriesSummary, rows: Sequence[ResultRow]) -> Portrait:
    looks = ((index, row.look) for index, row in enumerate(rows) if row.look is not None)
    answered = [(row.p0, row.p1, row.p2) for row in rows if row.p2 is not None]
    probabilities = np.array(answered, np.float64).reshape(-1, 3)
    return portrait(summary.info, summary.arranged, looks, probabilities, summary.abstained)


def suspicion(p2: Sequence[float], neighbours: int = NEIGHBOURS) -> float | None:
    """The highest mean over neighbours of lesion probabilities along a series; None of none."""
    width = min(neighbours, len(p2))
    return max((fmean(p2[start : start + width]) for start in range(len(p2) - width + 1)), default=None) if p2 else None


def longest_run(flags: Sequence[bool | None]) -> tuple[int, int] | None:
    """(first, last + 1) of the longest run of True; None (abstained) neither begins, ends nor breaks one."""
    best: tuple[int, int] | None = None
    start = last = None
    for index, flag in enumerate([*flags, False]):
        if flag:
            start, last = (index if start is None else start), index
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
