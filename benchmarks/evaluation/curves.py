"""Rankings: ROC and precision–recall curves of a score, the areas under them, and operating points on them.

A score ranks slices by how much they look like the positive class; a slice counts as flagged where its score is at
or above the threshold. Slices of one score are flagged together, so ties are never broken by their order.
Knows nothing about classes or temperatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What every possible threshold would do, from none flagged to all flagged; G + 1 points for G distinct scores.

    threshold: float64 [G + 1], falling, the first is +inf; found, alarms: slices of the positive and of the other class
    at or above it; positives, negatives: slices of either class.
    """

    threshold: Floats
    found: Floats
    alarms: Floats
    positives: float
    negatives: float

    @property
    def sensitivity(self) -> Floats:
        """Share of the positive class that is flagged (recall); NaN without positives."""
        return self.found / self.positives if self.positives else np.full_like(self.found, np.nan)

    @property
    def specificity(self) -> Floats:
        """Share of the other class that is not flagged; NaN without negatives."""
        return 1 - self.alarms / self.negatives if self.negatives else np.full_like(self.alarms, np.nan)

    @property
    def precision(self) -> Floats:
        """Share of the flagged slices that are positive; 1 where none is flagged, as scikit-learn draws it."""
        flagged = self.found + self.alarms
        values: Floats = np.ones_like(flagged)
        np.divide(self.found, flagged, out=values, where=flagged > 0)
        return values


def curve(positive: npt.ArrayLike, score: npt.ArrayLike) -> Curve:
    """Counts at every distinct score. positive: bool [N]; score: float [N], compared in its own precision."""
    y, s = np.asarray(positive, dtype=bool), np.asarray(score)
    order = np.argsort(-s, kind="stable")
    falling, hits = s[order].astype(np.float64), y[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if len(s) else np.zeros(0, np.int64)
    found, alarms = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    return Curve(
        threshold=np.concatenate([[np.inf], falling[last]]),
        found=np.concatenate([[0.0], found]),
        alarms=np.concatenate([[0.0], alarms]),
        positives=float(y.sum()),
        negatives=float((~y).sum()),
    )


def average_precision(positive: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Σ (Rₙ − Rₙ₋₁) · Pₙ over the distinct thresholds, without interpolation (scikit-learn's); NaN without positives.

    A score that says nothing has the share of positives, not one half.
    """
    drawn = curve(positive, score)
    if not drawn.positives:
        return float("nan")
    return float((np.diff(drawn.sensitivity) * drawn.precision[1:]).sum())


def at_sensitivity(drawn: Curve, wanted: float = 0.95) -> dict[str, Any] | None:
    """The point (`_best`) of highest specificity whose sensitivity is at least `wanted`; None with one class only."""
    return _best(drawn, drawn.sensitivity >= wanted - 1e-12, drawn.specificity)


def at_specificity(drawn: Curve, wanted: float = 0.95) -> dict[str, Any] | None:
    """The point (`_best`) of highest sensitivity whose specificity is at least `wanted`; None with one class only."""
    return _best(drawn, drawn.specificity >= wanted - 1e-12, drawn.sensitivity)


def _best(drawn: Curve, allowed: npt.NDArray[np.bool_], value: Floats) -> dict[str, Any] | None:
    """threshold, None where nothing may be flagged, and what it does: sensitivity, specificity, precision, flagged."""
    if not (drawn.positives and drawn.negatives):
        return None
    index = int(np.where(allowed, value, -1.0).argmax())  # the first of equals: the highest threshold
    flagged = int(drawn.found[index] + drawn.alarms[index])
    return {
        "threshold": float(drawn.threshold[index]) if index else None,
        "sensitivity": float(drawn.sensitivity[index]),
        "specificity": float(drawn.specificity[index]),
        "precision": float(drawn.precision[index]) if flagged else None,
        "flagged": flagged,
    }
