"""One series against those that its network was trained on: is it farther from them than they are from each other?

A series' *distance* is the largest of its deviations: how many standard deviations one of its numbers lies from the
mean of all others, on the number's scale. With the new one among them, every series is measured in the same way against
all others (full conformal prediction; Vovk, Gammerman and Shafer 2005, doi 10.1007/b106715). If it is like them, each
of the n + 1 is as likely to be the farthest as any other, whatever their distribution: so of series that are like the
training data a share of `rate(n)` is marked by chance, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lits_deploy.drift.features import NUMBERS, Number
from lits_deploy.drift.portrait import LEAST_LOOKS, TECHNIQUE, Portrait
from lits_deploy.drift.reference import DriftReference
from lits_deploy.synthetic import MARK

LEAST_SERIES = 9
"""Of a reference: with fewer, `marked_of` marks none, for one of them would be more than MOST_ALARMS."""

FARTHEST, MOST_ALARMS, LEAST_ALARMS = 2, 0.10, 0.02
"""Of n + 1 series the FARTHEST are marked, as long as that is no more than MOST_ALARMS of them and no less than
LEAST_ALARMS. The farthest alone would be too few: it may be an odd one of the training data, which then hides all that
is not odder."""

MOST_NAMED, NAMED_FROM = 3, 2.0
"""Deviations that a sentence tells of, and from how many standard deviations on."""


@dataclass(frozen=True)
class Deviation:
    """A number of a series beside those of the reference. deviations: from the mean, with a sign."""

    number: Number
    value: float
    deviations: float
    low: float
    high: float

    def clause(self) -> str:
        """As a clause with figures."""
        n = self.number
        unit = f" {n.unit}" if n.unit else ""
        figures = f"{n.text(self.value)}{unit}; training {n.text(self.low)} to {n.text(self.high)}"
        return f"{n.said(self.deviations > 0)} ({figures})"


@dataclass(frozen=True, kw_only=True)
class Against:
    """What came of it.

    why_not: why it was not compared, or None. nearer: how many of the `series` of the reference are nearer to all
    others than this one. marked: it is unlike them. deviations: its numbers, the farthest first. clauses: about
    what no training series has.
    """

    why_not: str | None = None
    series: int = 0
    nearer: int = 0
    marked: bool = False
    deviations: tuple[Deviation, ...] = ()
    clauses: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """In one sentence, for a table and a page."""
        if self.why_not is not None:
            return f"not compared: {self.why_not}"
        if not self.marked:
            return "like the training series"
        first, *others = self.deviations
        clauses = [first, *(one for one in others[: MOST_NAMED - 1] if abs(one.deviations) >= NAMED_FROM)]
        return f"unlike the training series: {'; '.join([*(one.clause() for one in clauses), *self.clauses])}"


def marked_of(series: int) -> int:
    """How many of n + 1 series are marked, where n are the reference's; 0: it has too few."""
    return max(int(LEAST_ALARMS * (series + 1)), min(FARTHEST, int(MOST_ALARMS * (series + 1))))


def rate(series: int) -> float:
    """Share of series like the training data that is marked by chance."""
    return marked_of(series) / (series + 1)


def promise(reference: DriftReference | None) -> str:
    """What a bundle with this reference can say of other series, in a sentence for its readers."""
    if reference is None:
        return "Nothing is kept of the series that it was trained on, so none can be said to be unlike them."
    series = reference.series
    if not marked_of(series):
        return f"Of its {series} training series too little is kept to say which others are unlike them."
    known, mark = len(reference.numbers), f" ({MARK})" if reference.synthetic else ""
    return (
        f"Series unlike its {series} training series{mark} are marked, by {known} numbers of each; of 100 series "
        f"that are like them, about {100 * rate(series):.0f} are marked by chance."
    )


def against(reference: DriftReference | None, portrait: Portrait) -> Against:
    """Hold a series against a reference. Words alone mark none."""
    if reference is None:
        return Against(why_not="the bundle keeps nothing of the series that it was trained on")
    seen = ~np.isnan(reference.numbers.get("middle", np.array([])))
    if (series := int(np.count_nonzero(seen))) < LEAST_SERIES:
        return Against(
            why_not=f"the bundle keeps {series} of the series that it was trained on, too few to compare with"
        )
    if "middle" not in portrait.numbers:
        return Against(why_not=f"fewer than {LEAST_LOOKS} of its slices were looked at")
    columns = {name: column[seen] for name, column in reference.numbers.items() if name in portrait.numbers}
    shared = [n for n in NUMBERS if n.name in columns and np.isfinite(columns[n.name]).sum() >= LEAST_SERIES]
    known = np.stack([columns[number.name] for number in shared], axis=1)
    values = np.array([portrait.numbers[number.name] for number in shared])
    apart = deviations(shared, np.vstack([known, values]))
    distance = np.nanmax(np.abs(apart), axis=1)
    nearer = int(np.count_nonzero(distance[:-1] < distance[-1]))
    lows, highs = np.nanmin(known, axis=0).tolist(), np.nanmax(known, axis=0).tolist()
    found = map(Deviation, shared, values.tolist(), apart[-1].tolist(), lows, highs)
    return Against(
        series=series,
        nearer=nearer,
        marked=series + 1 - nearer <= marked_of(series),
        deviations=tuple(sorted(found, key=lambda one: -abs(one.deviations))),
        clauses=tuple(_unseen(reference, portrait)),
    )


def deviations(numbers: Sequence[Number], table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far each row of float64 [N, F] lies from all others, in their standard deviations; NaN where it is not known.

    Beside the spread of the others, that of their mean counts. A spread below a number's `step` counts as that.
    """
    scaled = np.stack([number.scale.of(column) for number, column in zip(numbers, table.T, strict=True)], axis=1)
    there = ~np.isnan(scaled)
    filled = np.where(there, scaled - np.nanmean(scaled, axis=0), 0.0)  # so that squares keep their digits
    others = there.sum(axis=0) - there
    mean = (filled.sum(axis=0) - filled) / np.maximum(others, 1)
    square = (filled**2).sum(axis=0) - filled**2
    variance = np.maximum(square - others * mean**2, 0.0) / np.maximum(others - 1, 1)
    least = np.array([number.step for number in numbers])
    spread = np.sqrt(np.maximum(variance, least**2) * (1 + 1 / np.maximum(others, 1)))
    return np.where(there, (filled - mean) / spread, np.nan)


def _unseen(reference: DriftReference, portrait: Portrait) -> Iterator[str]:
    """What the header of a series says that no training series' does, where theirs say anything."""
    for name, word in portrait.technique.items():
        known = reference.technique.get(name, {})
        if sum(known.values()) >= LEAST_SERIES and word not in known:
            yield f"its {TECHNIQUE[name]} is {word}, as in no training series"
