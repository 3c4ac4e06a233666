"""Percentiles that the number of samples supports, and none that it does not.

The rule is that of MLPerf Inference's early stopping: a percentile q is shown only where at least two samples lie
beyond it with 99 % confidence, so from the smallest n with P(Binomial(n, 1 − q) ≤ 1) ≤ 0.01. That gives 11 samples for
p50, 64 for p90, 130 for p95 and 662 for p99. No sample is ever dropped as an outlier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

PERCENTS = (50, 90, 95, 99)

CONFIDENCE = 0.99

UNSTEADY = 0.025
"""Coefficient of variation above which a row gets a note (trtexec's limit)."""


@cache
def needed_samples(percent: int) -> int:
    """Fewest samples from which this percentile (1…99) may be shown."""
    below, n = percent / 100, 2
    while below**n + n * (1 - below) * below ** (n - 1) > 1 - CONFIDENCE:
        n += 1
    return n


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The nearest-rank percentile of ascending values: one that really occurred; None from too few."""
    if len(ordered) < needed_samples(percent):
        return None
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def summarise_ms(seconds: Sequence[float]) -> dict[str, Any]:
    """Latencies in seconds → samples, mean, min, max and percentiles in ms, and the coefficient of variation `cv`.

    A percentile from too few samples is None, and `needed` says how many it takes.
    """
    if not seconds:
        return {"samples": 0, "needed": {f"p{percent}": needed_samples(percent) for percent in PERCENTS}}
    ordered = sorted(1000.0 * value for value in seconds)
    mean = math.fsum(ordered) / len(ordered)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in ordered) / len(ordered))
    shown = {percent: percentile(ordered, percent) for percent in PERCENTS}
    return {
        "samples": len(ordered),
        "mean": mean,
        "min": ordered[0],
        "max": ordered[-1],
        "cv": spread / mean if len(ordered) > 1 and mean > 0 else None,
        **{f"p{percent}": value for percent, value in shown.items()},
        "needed": {f"p{percent}": needed_samples(percent) for percent, value in shown.items() if value is None},
    }
