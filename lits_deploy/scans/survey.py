"""What lies in a folder of scans: studies, series, how their slices follow each other, and what would be skipped.

Pure functions and records: who reads the headers brings them here (`pipeline.survey`). Slices are sorted by their
position along the normal, never by instance or file numbers, which run from head to feet as often as not.
Names no patient: studies and series have numbers, in the order of their paths, unless the user asks to identify.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from lits_deploy.scans import Series

SAME_MM = 0.01
"""Slices nearer to each other than this lie at one place: headers round positions to about a micrometre."""

GAP = 1.5
"""A distance of more than this many steps is a gap. Half a step is more than any scanner's jitter."""


def along(position: float | None, path: str, index: int) -> tuple[Any, ...]:
    """Sort key of a slice within its series: by position, those without one last, by path and place in the file."""
    return position is None, position or 0.0, path, index


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How positions in mm follow each other.

    step_mm: the median distance of neighbours; extent_mm: from the first to the last; None where there are not two.
    missing: slices that would fit into the gaps. repeated: slices at a place where another one is.
    """

    step_mm: float | None
    extent_mm: float | None
    missing: int
    repeated: int


def steps_of(positions: Iterable[float]) -> Steps:
    """The steps of a series, its positions in any order."""
    places: list[float] = []
    count = 0
    for position in sorted(positions):
        count += 1
        if not places or position - places[-1] > SAME_MM:
            places.append(position)
    repeated = count - len(places)
    if len(places) < 2:
        return Steps(step_mm=None, extent_mm=None, missing=0, repeated=repeated)
    distances = [b - a for a, b in pairwise(places)]
    step = median(distances)
    missing = sum(round(distance / step) - 1 for distance in distances if distance > GAP * step)
    return Steps(step_mm=round(step, 3), extent_mm=round(places[-1] - places[0], 3), missing=missing, repeated=repeated)


@dataclass(kw_only=True)
class SeriesSurvey:
    """One series. path: the first of its files; positions: of the slices that have one; skipped, failed: reason → how
    many slices, and files."""

    series: Series
    path: str
    files: int = 0
    slices: int = 0
    positions: list[float] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def steps(self) -> Steps:
        """How its slices follow each other; a picture's number is no position in mm."""
        return steps_of([] if self.series.kind == "picture" else self.positions)

    def to_json(self, *, identify: bool = False) -> dict[str, Any]:
        """Plain values; nothing that names a patient, unless asked."""
        series, steps = self.series, self.steps
        told: dict[str, Any] = {
            "kind": series.kind,
            "modality": series.modality,
            "orientation": series.orientation,
            "turn": series.turn,
            "rows": series.rows or None,
            "columns": series.columns or None,
            "spacing_mm": None if series.spacing_mm is None else list(series.spacing_mm),
            "files": self.files,
            "slices": self.slices,
            "step_mm": steps.step_mm,
            "extent_mm": steps.extent_mm,
            "missing": steps.missing,
            "repeated": steps.repeated,
            "skipped": dict(self.skipped.most_common()),
            "failed": dict(self.failed.most_common()),
        }
        if identify:
            told |= {"path": self.path, "identifiers": dict(series.identifiers)}
        return told


class Survey:
    """Collects what is told of files, one after the other and in any order. others: files that are no scans."""

    def __init__(self) -> None:
        self._series: dict[str, SeriesSurvey] = {}
        self.files = 0
        self.failed: Counter[str] = Counter()
        self.failed_paths: dict[str, list[str]] = {}
        self.others: Counter[str] = Counter()

    def add(
        self,
        path: str,
        series: Series | None,
        slices: Sequence[tuple[float | None, str | None]] = (),
        failure: str | None = None,
    ) -> None:
        """A file: its series, of each slice position and why it is skipped (None: it is not), or why it failed."""
        self.files += 1
        if failure is not None:
            self.failed[failure] += 1
            self.failed_paths.setdefault(failure, []).append(path)
        if series is None:
            return
        one = self._series.setdefault(series.key, SeriesSurvey(series=series, path=path))
        one.path = min(one.path, path)
        one.files += 1
        if failure is not None:
            one.failed[failure] += 1
            return
        one.slices += len(slices)
        one.positions += [position for position, _ in slices if position is not None]
        one.skipped.update(reason for _, reason in slices if reason is not None)

    def studies(self) -> Iterator[list[SeriesSurvey]]:
        """The series of each study, studies and series in the order of their first paths."""
        found: dict[str, list[SeriesSurvey]] = {}
        for one in sorted(self._series.values(), key=lambda one: (one.path, one.series.key)):
            found.setdefault(one.series.study, []).append(one)
        yield from found.values()

    @property
    def slices(self) -> int:
        """In all series."""
        return sum(one.slices for one in self._series.values())

    @property
    def skipped(self) -> Counter[str]:
        """Reason → slices, in all series."""
        return sum((one.skipped for one in self._series.values()), Counter())

    def to_json(self, *, identify: bool = False) -> dict[str, Any]:
        """Plain values; nothing that names a patient or a file, unless asked."""
        told: dict[str, Any] = {
            "files": self.files,
            "slices": self.slices,
            "studies": [
                {
                    "study": number,
                    "series": [
                        {"series": f"{number}.{place}", **one.to_json(identify=identify)}
                        for place, one in enumerate(study, start=1)
                    ],
                }
                for number, study in enumerate(self.studies(), start=1)
            ],
            "skipped": dict(sorted(self.skipped.items(), key=lambda item: (-item[1], item[0]))),
            "failed": dict(sorted(self.failed.items(), key=lambda item: (-item[1], item[0]))),
            "others": dict(self.others.most_common()),
        }
        if identify:
            told["failed_paths"] = {reason: sorted(paths) for reason, paths in sorted(self.failed_paths.items())}
        return told
