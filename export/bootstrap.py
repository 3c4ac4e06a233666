"""Intervals by bootstrap over patients: patients are drawn with replacement, each with all slices (Efron 1979).

Slices of a patient resemble each other, so drawing slices would give intervals that are far too narrow. With few
patients even these are decoration: FEWEST says from where on they are worth reading. Figures are computed from counts
per patient or from ranked slices with weights, all draws at once, never by copying slices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        totals = np.bincount(self.of, np.asarray(per_slice, dtype=np.float64), self.counts.shape[1])
        sums: Floats = self.counts.astype(np.float64) @ totals
        return sums

    def means(self, per_slice: npt.ArrayLike) -> Floats:
        """Mean over the slices of each draw of a value [N]: float64 [draws]."""
        return quotient(self.sums(per_slice), self.sums(np.ones(len(self.of))))

    def pooled(self, per_patient: npt.NDArray[Any]) -> Floats:
        """Sum over the patients of each draw of [patients, …]: float64 [draws, …], such as confusion matrices."""
        pooled: Floats = np.tensordot(self.counts.astype(np.float64), per_patient.astype(np.float64), axes=1)
        return pooled

    def patient_means(self, per_patient: npt.NDArray[Any]) -> Floats:
        """Mean over the patients of each draw whose value is not NaN, of [patients]: float64 [draws]."""
        known = np.isfinite(per_patient)
        return quotient(self.pooled(np.where(known, per_patient, 0.0)), self.pooled(known))


def quotient(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> Floats:
    """above / below, NaN where below is 0."""
    found: Floats = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) > 0)
    return found


def resample(patients: Sequence[str], *, draws: int = DRAWS, seed: int = SEED) -> Resamples:
    """Draw as many patients as there are, `draws` times, of one patient never. patients: of each slice, [N]."""
    names, of = np.unique(np.asarray(patients), return_inverse=True)
    rng, share = np.random.default_rng(seed), np.full(len(names), 1 / len(names))
    return Resamples(rng.multinomial(len(names), share, size=draws if len(names) > 1 else 0), of.reshape(-1))


def interval(values: Floats) -> tuple[float, float] | None:
    """95 % interval over the draws where the figure exists; None where it exists in fewer than half of them.

    A figure may not exist in a draw: without a lesion there is no AUROC.
    """
    known = values[np.isfinite(values)]
    if len(known) < max(1, len(values) / 2):
        return None
    low, high = np.quantile(known, [(1 - 0.95) / 2, (1 + 0.95) / 2])
    return float(low), float(high)


def ranking(
    positive: npt.ArrayLike, score: npt.ArrayLike, resamples: Resamples, *, wanted: float = 0.95
) -> dict[str, Floats]:
    """Figures of a ranking in every draw: auroc, average_precision, specificity_at and sensitivity_at `wanted`.

    positive: bool [N]; score: float [N]. The definitions are those of `benchmarks.evaluation.curves`; each is
    float64 [draws], NaN where a draw has one class only. The threshold of an operating point is chosen anew in every
    draw.
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
    counts = resamples.counts.astype(np.float64)
    parts = [counts[start : start + _AT_ONCE] for start in range(0, max(1, len(counts)), _AT_ONCE)]
    blocks = [_ranking(part @ hits, part @ others, wanted) for part in parts]
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
        "auroc": area,
        "average_precision": average,
        "specificity_at": at_sensitivity,
        "sensitivity_at": at_specificity,
    }
    return {name: np.where(both, values, np.nan) for name, values in figures.items()}


Figure = dict[str, float | None]


def figure(value: float, draws: npt.NDArray[np.float64]) -> Figure:
    """value, low and high (95 %); None for what does not exist."""
    bounds = None if math.isnan(value) else interval(draws)
    low, high = bounds or (None, None)
    return {"value": None if math.isnan(value) else float(value), "low": low, "high": high}


def one_of(patients: Sequence[str]) -> Resamples:
    """Everybody once: no draws, the figures themselves."""
    names, of = np.unique(np.asarray(patients), return_inverse=True)
    return Resamples(np.ones((1, len(names)), np.int64), of.reshape(-1))


def ranked(
    positive: npt.NDArray[np.bool_],
    score: npt.NDArray[Any],
    patients: Sequence[str],
    *,
    wanted: float = 0.95,
    draws: int = DRAWS,
) -> dict[str, Figure]:
    """The figures of `ranking`, each with its interval over patients; of one patient there is none."""
    values = ranking(positive, score, one_of(patients), wanted=wanted)
    resamples = resample(patients, draws=draws)
    drawn = ranking(positive, score, resamples, wanted=wanted) if len(resamples.counts) else {}
    return {name: figure(float(value[0]), drawn.get(name, np.array([]))) for name, value in values.items()}


def merged(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Classes 1 and above as one: confusion matrices [..., K, K] → [..., 2, 2]."""
    rows = np.stack([matrix[..., 0, :], matrix[..., 1:, :].sum(axis=-2)], axis=-2)
    return np.stack([rows[..., 0], rows[..., 1:].sum(axis=-1)], axis=-1)


def about_intervals(patients: int, draws: int) -> dict[str, Any]:
    """How the intervals were made, and in `line` how far to trust them."""
    made = f"95 % intervals by bootstrap over the {patients} patients ({draws:,} draws)"
    if patients < 2:
        line = "No intervals: they need two patients."
    elif patients < FEWEST:
        line = f"{made}: with fewer than {FEWEST} patients they are decoration. Read them as a hint of the spread."
    else:
        line = f"{made}."
    return {
        "share": 0.95,
        "method": "percentile bootstrap over patients",
        "draws": draws if patients > 1 else 0,
        "seed": SEED,
        "patients": patients,
        "decoration": patients < FEWEST,
        "line": line,
    }


def finite(value: Any) -> Any:
    """The same structure with None for every number that is not finite, and plain numbers for numpy's."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return finite(value.tolist())
    if isinstance(value, np.generic):
        return finite(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
