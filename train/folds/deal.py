"""Which patients are held out together: whole patients, the same ones for the same seed, folds as alike as can be.

Patients are ranked by their slices with lesion and dealt out in rounds, one to each fold, so folds differ by at most
one patient and each gets its share of those with many lesions. Of many such deals the most even one is taken. All
randomness is a hash of seed, trial and patient: it depends on no library's generator and no order of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

TRIALS = 400
"""Deals that the most even one is taken of."""


class SliceCounts(NamedTuple):
    """Slices of one patient: all; with liver (class 1 or 2); with lesion (class 2)."""

    slices: int
    liver: int
    lesion: int


def deal(patients: Mapping[str, SliceCounts], folds: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """The patients of each fold, sorted by name. There must be as many patients as folds."""
    assert 2 <= folds <= len(patients)
    deals = (_dealt(patients, folds, f"{seed}/{trial}") for trial in range(TRIALS))
    best = min(deals, key=lambda found: _unevenness(patients, found))  # the first of equals
    return tuple(tuple(sorted(fold)) for fold in best)


def _dealt(patients: Mapping[str, SliceCounts], folds: int, salt: str) -> list[list[str]]:
    def rank(name: str) -> tuple[int, int, int, str]:
        counts = patients[name]
        return -counts.lesion, -counts.liver, -counts.slices, _hash(salt, name)

    ranked = sorted(patients, key=rank)
    found: list[list[str]] = [[] for _ in range(folds)]
    for start in range(0, len(ranked), folds):
        order = sorted(range(folds), key=lambda fold: _hash(salt, start, fold))
        for fold, name in zip(order, ranked[start : start + folds], strict=False):
            found[fold].append(name)
    return found


def _unevenness(patients: Mapping[str, SliceCounts], found: list[list[str]]) -> float:
    """Sum over folds and counts of (share of the count − 1 / folds)²; a count that nobody has does not matter."""
    sums = np.array([[sum(column) for column in zip(*(patients[n] for n in fold), strict=True)] for fold in found])
    shares = sums / np.maximum(1, sums.sum(axis=0))
    return round(float(((shares - 1 / len(found)) ** 2 * (sums.sum(axis=0) > 0)).sum()), 12)


def _hash(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
