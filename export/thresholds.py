"""Where a rule sets its threshold on a score, from slices whose truth is known (`lits_deploy.operating_point`).

Every slice counts once, whoever it is of. A threshold lies midway between the two slices that it parts, so that the
rounding of another runtime moves no slice across it. Knows nothing about what the score is.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import DataError
from lits_deploy.operating_point import BALANCED

ASIDE = 0.5
"""How far beyond the outermost slice a threshold lies that parts no two."""

MOST = 600.0
"""Of a threshold on log odds, so that its odds are a number."""


def threshold_of(rule: str, lesion: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> float:
    """The threshold on the score, which a slice reaches that is to be marked.

    lesion: bool [N], which slices show one; score: float64 [N]. Raises DataError where there are no slices with a
    lesion, or no others.
    """
    ill, well = np.sort(score[lesion])[::-1], np.sort(score[~lesion])
    if not len(ill) or not len(well):
        raise DataError(
            f"No threshold for {rule} can be set on slices of one kind.", fix="give labelled patients of both"
        )
    name, _, number = rule.partition("=")
    if name == "sensitivity":
        lowest = ill[_at_least(float(number), len(ill)) - 1]
    elif name == "specificity":
        spared = well[_at_least(float(number), len(well)) - 1]
        return _midway(spared, score[score > spared].min(initial=np.inf))
    elif name == BALANCED:
        found = np.arange(1, len(ill) + 1) / len(ill)
        spared_share = np.searchsorted(well, ill, side="left") / len(well)
        mean = found + spared_share
        lowest = ill[np.flatnonzero(mean == mean.max())[-1]]  # of equals the one that misses least
    else:
        raise ValueError(rule)
    return _midway(score[score < lowest].max(initial=-np.inf), lowest)


def _at_least(share: float, count: int) -> int:
    """How many of `count` are at least that share of them; one at least."""
    return max(1, math.ceil(share * count - 1e-9))


def _midway(below: float, above: float) -> float:
    """A number over `below` and not over `above`, either of which may be infinite."""
    if math.isinf(below):
        middle = above - ASIDE
    elif math.isinf(above):
        middle = below + ASIDE
    else:
        middle = below + (above - below) / 2
        middle = middle if middle > below else above
    return float(np.clip(middle, -MOST, MOST))
