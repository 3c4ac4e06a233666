"""Intervals by bootstrap over patients: patients are drawn with replacement, each with all slices (Efron 1979).

Slices of a patient resemble each other, so drawing slices would give intervals that are far too narrow. With few
patients even these are decoration: FEWEST says from where on they are worth reading. Figures are computed from counts
per patient or from ranked slices with weights, all draws at once, never by copying slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DRAWS = 2_000
SEED = 20_240_611

FEWEST = 10
"""Patients under which an interval is decoration: five patients allow 126 different draws."""

MOST_LEVELS = 4_096
"""Distinct scores that `ranking` tells apart; of more, neighbours count as ties, which moves an area by some 1e-4."""

_AT_ONCE = 250
"""Draws that `ranking` works on at once, 8 MB for each of its arrays."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Resamples:
    """How often each patient is in each draw: counts int64 [draws, patients]; `of` int64 [N], each slice's patient."""

    counts: npt.NDArray[np.int64]
    of: npt.NDArray[np.int64]

    def sums(self, per_slice: npt.ArrayLike) -> Floats:
        """Sum over the slices of each draw of a value [N]: float64 [draws]."""
        patients = self.counts.shape[1]
        totals = np.bincount(self.of, weights=np.asarray(per_slice, dtype=np.float64), minlength=patients)
        sums: Floats = self.counts.astype(np.float64) @ totals
        return sums

    def means(self, per_slice: npt.ArrayLike) -> Floats:
        """Mean over the slices of each draw of a value [N]: float64 [draws]."""
        values = np.asarray(per_slice, dtype=np.float64)
        means: Floats = self.sums(values) / self.sums(np.ones(len(values)))
        return means

    def pooled(self, per_patient: npt.NDArray[Any]) -> Floats:
        """Sum over the patients of each draw of [patients, …]: float64 [draws, …], such as confusion matrices."""
        pooled: Floats = np.tensordot(self.counts.astype(np.float64), per_patient.astype(np.float64), axes=1)
        return pooled

    def patient_means(self, per_patient: npt.NDArray[Any]) -> Floats:
        """Mean over the patients of each draw whose value is not NaN, of [patients]: float64 [draws]."""
        known = np.isfinite(per_patient)
        above, below = self.pooled(np.where(known, per_patient, 0.0)), self.pooled(known)
        means: Floats = np.full(above.shape, np.nan)
        np.divide(above, below, out=means, where=below > 0)
        return means


def resample(patients: Sequence[str], *, draws: int = DRAWS, seed: int = SEED) -> Resamples:
    """Draw as many patients as there are, `draws` times. patients: of each slice, [N]."""
    names, of = np.unique(np.asarray(patients), return_inverse=True)
    rng = np.random.default_rng(seed)
    return Resamples(rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws), of.reshape(-1))


def interval(values: Floats, share: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval over the draws where the figure exists; None where it exists in fewer than half of them.

    A figure may not exist in a draw: without a lesion there is no AUROC.
    """
    known = values[np.isfinite(values)]
    if len(known) < max(1, len(values) / 2):
        return None
    low, high = np.quantile(known, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def ranking(
    positive: npt.ArrayLike, score: npt.ArrayLike, resamples: Resamples, *, wanted: float = 0.95
) -> dict[str, Floats]:
    """Figures of a ranking in every draw: auroc, average_precision, specificity_at and sensitivity_at `wanted`.

    positive: bool [N]; score: float [N]. The definitions are those of `curves`; each is float64 [draws], NaN where a
    draw has one class only. The threshold of an operating point is chosen anew in every draw.
    """
    y, s = np.asarray(positive, dtype=bool), np.asarray(score)
    level = np.unique(-s, return_inverse=True)[1].reshape(-1)
    levels = int(level.max()) + 1
    if levels > MOST_LEVELS:
        level, levels = level * MOST_LEVELS // levels, MOST_LEVELS
    patients = resamples.counts.shape[1]
    cells = [
        np.bincount((resamples.of * levels + level)[part], minlength=patients * levels).reshape(patients, levels)
        for part in (y, ~y)
    ]
    hits, others = (cell.astype(np.float64) for cell in cells)
    blocks = [_ranking(counts @ hits, counts @ others, wanted) for counts in _blocks(resamples)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _ranking(hits: Floats, others: Floats, wanted: float) -> dict[str, Floats]:
    """hits, others: slices of either class at each level of the score, highest first, [draws, levels]."""
    found, alarms = np.cumsum(hits, axis=1), np.cumsum(others, axis=1)
    positives, negatives = found[:, -1:], alarms[:, -1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        start = np.zeros((len(found), 1))
        sensitivity = np.hstack([start, found / positives])
        alarm_rate = np.hstack([start, alarms / negatives])
        precision = found / (found + alarms)
        area = (np.diff(alarm_rate) * (sensitivity[:, 1:] + sensitivity[:, :-1]) / 2).sum(axis=1)
        average = (np.diff(sensitivity) * np.where(np.isnan(precision), 0.0, precision)).sum(axis=1)
        enough, calm = sensitivity >= wanted - 1e-12, 1 - alarm_rate >= wanted - 1e-12
        at_sensitivity = np.where(enough, 1 - alarm_rate, -1.0).max(axis=1)
        at_specificity = np.where(calm, sensitivity, -1.0).max(axis=1)
    both = ((positives > 0) & (negatives > 0))[:, 0]
    figures = {
        "auroc": area, "average_precision": average, "specificity_at": at_sensitivity, "sensitivity_at": at_specificity
    }  # fmt: skip
    return {name: np.where(both, values, np.nan) for name, values in figures.items()}


def _blocks(resamples: Resamples) -> Iterator[Floats]:
    for start in range(0, len(resamples.counts), _AT_ONCE):
        yield resamples.counts[start : start + _AT_ONCE].astype(np.float64)
