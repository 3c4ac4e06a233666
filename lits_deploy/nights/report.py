"""Nights read, paired and compared: all that a terminal, JSON and the page say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy.bundle import Bundle
from lits_deploy.errors import UserError
from lits_deploy.nights.compare import FeatureFinding, SampleComparison, compare, scipy_stats
from lits_deploy.nights.night import Night, SeriesSample, of_bundle, pooled, read_night
from lits_deploy.release import DISCLAIMER

SCHEMA = 1
FALSE_SHARE = 0.05
"""Of what is found, expected to be false at most."""


@dataclass(frozen=True, kw_only=True)
class Nights:
    """nights: as they were named, the last one the newest. comparisons: each with its training series, and the last one
    with all before it."""

    nights: tuple[Night, ...]
    comparisons: tuple[SampleComparison, ...]
    false_share: float

    @property
    def found(self) -> int:
        """How many things differ."""
        return sum(len(one.found) for one in self.comparisons)

    @property
    def compared(self) -> int:
        """How many respects were compared, in all comparisons together."""
        return sum(len(one.findings) for one in self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """A document for JSON."""
        return {
            "schema": SCHEMA,
            "disclaimer": DISCLAIMER,
            "false_share": self.false_share,
            "found": self.found,
            "nights": [
                {
                    "name": night.sample.name,
                    "studies": night.sample.series,
                    "series": night.series,
                    "unlike_training": night.marked,
                    "training_series": None if night.reference is None else night.reference.series,
                }
                for night in self.nights
            ],
            "comparisons": [
                {
                    "night": one.own.name,
                    "with": one.other.name,
                    "why_not": one.why_not,
                    "findings": [_finding(finding) for finding in one.findings],
                }
                for one in self.comparisons
            ],
        }


def look_at(folders: Sequence[Path], *, bundle: Bundle | None = None, false_share: float = FALSE_SHARE) -> Nights:
    """Read the nights and compare them. bundle: whose training series to compare with, in place of each night's own.

    Raises MissingExtra without SciPy, UserError where there is nothing to compare with, and as `read_night`.
    """
    if not 0 < false_share < 1:
        raise UserError(f"{false_share:g} is not a share of findings between 0 and 1.", fix="--false-share 0.05")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("An OUT is named twice.", fix="name each night once, the newest last")
    scipy_stats()  # first: what is missing is said at once
    reference, training = (None, None) if bundle is None else of_bundle(bundle)
    nights = [read_night(folder, reference, training) for folder in folders]
    pairs: list[tuple[SeriesSample, SeriesSample]] = [(n.sample, n.training) for n in nights if n.training is not None]
    if len(nights) > 1:
        pairs.append((nights[-1].sample, pooled([night.sample for night in nights[:-1]])))
    if not pairs:
        raise UserError(
            f"{folders[0]} was answered with a bundle that keeps nothing of its training series.",
            fix="--reference BUNDLE (exported anew), or name earlier nights before it",
        )
    compared = compare(pairs, false_share=false_share)
    return Nights(nights=tuple(nights), comparisons=tuple(compared), false_share=false_share)


def _finding(one: FeatureFinding) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: getattr(one, name) for name in ("name", "word", "own", "other", "p", "adjusted", "found")
    }
    if one.number is None:
        return {**fields, "series": list(one.counts)}
    return {
        **fields,
        "series": list(one.counts),
        "range": [one.low, one.high],
        "deviations": one.deviations,
        "found_below": one.smallest[0],
        "found_above": one.smallest[1],
    }
