"""Two samples of series, number by number: do they come from one distribution?

Numbers by the two-sample test of Kolmogorov and Smirnov, exact for few, which asks for no shape; words by Fisher's
exact test, each word against all others. All that one call tests is one family: of what it finds, no more than the
given share are expected to be false (Benjamini and Hochberg 1995, doi 10.1111/j.2517-6161.1995.tb02031.x). SciPy has
all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lits_deploy.drift.features import BY_NAME, Column, Number
from lits_deploy.drift.portrait import LEAST_LOOKS, TECHNIQUE
from lits_deploy.errors import MissingExtra
from lits_deploy.nights.night import SeriesSample
from lits_deploy.nights.smallest import smallest_shift

LEAST = 4
"""Series that a sample must have of a number. Four beside 21 can give p = 0.0002, three no less than 0.001."""


@dataclass(frozen=True, kw_only=True)
class FeatureFinding:
    """A number, or a word, of one sample (`own`) beside another.

    what: its name; word: the word, of one. own, other: medians, or the shares that have the word; low, high: range of
    the other sample. counts: series of both. deviations: from the other's median, in its standard deviations. p: of the
    test; adjusted: for all that was tested with it; found: whether that is at most the share of false ones that was
    allowed. smallest: medians below and above which a shift would be found four times in five; None: none would.
    """

    name: str
    what: str
    own: float
    other: float
    counts: tuple[int, int]
    p: float
    word: str | None = None
    low: float = 0.0
    high: float = 0.0
    deviations: float = 0.0
    adjusted: float = 1.0
    found: bool = False
    smallest: tuple[float | None, float | None] = (None, None)

    @property
    def number(self) -> Number | None:
        """What is known of the number; None of a word."""
        return None if self.word is not None else BY_NAME[self.name]


@dataclass(frozen=True, kw_only=True)
class SampleComparison:
    """One sample beside another. why_not: why nothing was compared, or None."""

    own: SeriesSample
    other: SeriesSample
    findings: tuple[FeatureFinding, ...] = ()
    why_not: str | None = None

    @property
    def found(self) -> tuple[FeatureFinding, ...]:
        """What differs, the surest first."""
        return tuple(sorted((one for one in self.findings if one.found), key=lambda one: one.p))


def compare(
    pairs: Sequence[tuple[SeriesSample, SeriesSample]], *, false_share: float, smallest: bool = True
) -> list[SampleComparison]:
    """Test each pair in everything that both have; false_share: of what is found, expected to be false at most.

    smallest: work out the smallest shifts, too, which takes longer than all the rest.

    Raises MissingExtra without SciPy.
    """
    stats = scipy_stats()
    raw = [_tested(stats, own, other) for own, other in pairs]
    p_values = [finding.p for findings in raw for finding in findings]
    adjusted = iter(stats.false_discovery_control(p_values, method="bh").tolist() if p_values else ())
    made = []
    for (own, other), findings in zip(pairs, raw, strict=True):
        settled = []
        for finding in findings:
            q = float(next(adjusted))
            one = replace(finding, adjusted=q, found=q <= false_share)
            if smallest and one.number is not None:
                column, count = other.numbers[one.name], one.counts[0]
                tests = len(p_values)
                least = smallest_shift(one.number, column, count, false_share=false_share, tests=tests, stats=stats)
                one = replace(one, smallest=least)
            settled.append(one)
        made.append(
            SampleComparison(
                own=own, other=other, findings=tuple(settled), why_not=None if settled else _why_not(own, other)
            )
        )
    return made


def scipy_stats() -> Any:
    """The module; MissingExtra where it is not installed."""
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtra("SciPy", "drift") from error
    return stats


def steps(number: Number, column: Column, other: Column) -> Column:
    """Values on their scale, in whole steps from the median of the other sample: what differs by less is equal."""
    return np.round((number.scale.of(column) - np.median(number.scale.of(other))) / number.step)


def _tested(stats: Any, own: SeriesSample, other: SeriesSample) -> list[FeatureFinding]:
    found = []
    for name in own.shared(other):
        mine, theirs = own.numbers[name], other.numbers[name]
        if min(len(mine), len(theirs)) >= LEAST:
            found.append(_number(stats, BY_NAME[name], mine, theirs))
    for name, what in TECHNIQUE.items():
        mine_of, theirs_of = own.technique.get(name, {}), other.technique.get(name, {})
        counts = sum(mine_of.values()), sum(theirs_of.values())
        if min(counts) < LEAST:
            continue
        for word in sorted({*mine_of, *theirs_of}):
            have = mine_of.get(word, 0), theirs_of.get(word, 0)
            table = [[have[0], counts[0] - have[0]], [have[1], counts[1] - have[1]]]
            p = float(stats.fisher_exact(table).pvalue)
            shares = have[0] / counts[0], have[1] / counts[1]
            found.append(
                FeatureFinding(name=name, what=what, word=word, own=shares[0], other=shares[1], counts=counts, p=p)
            )
    return found


def _number(stats: Any, number: Number, mine: Column, theirs: Column) -> FeatureFinding:
    own, other = steps(number, mine, theirs), steps(number, theirs, theirs)
    spread = max(float(other.std(ddof=1)), 1.0)
    return FeatureFinding(
        name=number.name,
        what=number.what,
        own=float(np.median(mine)),
        other=float(np.median(theirs)),
        low=float(theirs.min()),
        high=float(theirs.max()),
        counts=(len(mine), len(theirs)),
        deviations=float(np.median(own) - np.median(other)) / spread,
        p=float(stats.ks_2samp(own, other).pvalue),
    )


def _why_not(own: SeriesSample, other: SeriesSample) -> str:
    if min(own.series, other.series) < LEAST:
        return f"{own.series} and {other.series} series are too few: {LEAST} are needed on either side"
    if own.shared(other):
        return (
            f"no number is known of {LEAST} series or more on both sides (a series needs {LEAST_LOOKS} slices that "
            f"were looked at, some {4 * LEAST_LOOKS} in all)"
        )
    return "they have nothing in common that could be compared (other contracts, or too few looks at their slices)"
