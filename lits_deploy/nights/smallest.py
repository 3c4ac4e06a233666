"""The smallest shift of a number that a comparison of nights would find: what few series can say, and what not.

A night is drawn from the other sample itself, with all its values shifted on the number's scale, many times; a shift
counts as found where the test of `compare` would say so with nothing else differing: the strictest case. Values stay in
the number's possible range, and a median beyond it is no answer. Needs SciPy.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb, inf
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.drift.features import Column, Number

POWER = 0.8
"""Share of nights in which it is found."""

_NIGHTS, _SEED, _HALVINGS = 200, 20_230_401, 12
_FARTHEST = 12.0  # standard deviations beyond which nobody looks


def smallest_shift(
    number: Number, other: Column, count: int, *, false_share: float, tests: int, stats: Any
) -> tuple[float | None, float | None]:
    """Medians below and above which a shift of `count` series against `other` is found, in the number's unit; None
    where none within its possible range is.

    tests: how many are made at once. stats: `scipy.stats`.
    """
    least = _distance(stats, len(other), count, false_share / max(tests, 1))
    scaled = np.sort(number.scale.of(other))
    spread = max(float(scaled.std(ddof=1)), number.step)
    drawn = scaled[np.random.default_rng(_SEED).integers(0, len(scaled), (_NIGHTS, count))]
    middle = float(np.median(scaled))
    limits = number.limits()
    found: list[float | None] = []
    for way in (-1.0, 1.0):
        shift = _least(scaled, np.sort(drawn, axis=1), way * spread, least, limits)
        if shift is None or not limits[0] < middle + shift < limits[1]:
            found.append(None)
        else:
            found.append(float(number.scale.back(np.array([middle + shift]))[0]))
    return found[0], found[1]


def _least(
    scaled: Column, drawn: npt.NDArray[np.float64], unit: float, least: float, limits: tuple[float, float]
) -> float | None:
    """The smallest shift that is found with POWER, in steps of `unit` halved again and again; None: none is. What is
    shifted beyond the limits lies on them."""

    def power(units: float) -> float:
        return float((_distances(scaled, np.clip(drawn + units * unit, *limits)) >= least).mean())

    if least > 1.0 or power(_FARTHEST) < POWER:
        return None
    low, high = 0.0, _FARTHEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high * unit


def _distances(scaled: Column, nights: npt.NDArray[np.float64]) -> Column:
    """Kolmogorov and Smirnov's distance of each night [B, m], ascending, to the sample."""
    n, m = len(scaled), nights.shape[1]
    up = np.arange(1, m + 1) / m - np.searchsorted(scaled, nights, side="right") / n
    down = np.searchsorted(scaled, nights, side="left") / n - np.arange(m) / m
    return np.asarray(np.maximum(up, down).max(axis=1))


@lru_cache(maxsize=64)
def _distance(stats: Any, n: int, m: int, p: float) -> float:
    """The distance from which the test gives p or less, by its asymptotic distribution; beyond 1 where not even samples
    that lie wholly apart give it."""
    if 2 / comb(n + m, m) > p:
        return inf
    return float(stats.kstwo.isf(p, max(1, round(n * m / (n + m)))))
