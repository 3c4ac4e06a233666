"""What both tasks share: a figure with its interval, what is said of intervals, and JSON without NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.evaluation.bootstrap import FEWEST, interval

Figure = dict[str, float | None]


def figure(value: float, draws: npt.NDArray[np.float64] | None) -> Figure:
    """value, low and high (95 %); None for what does not exist."""
    bounds = None if draws is None or math.isnan(value) else interval(draws)
    low, high = bounds or (None, None)
    return {"value": None if math.isnan(value) else float(value), "low": low, "high": high}


def about_intervals(patients: int, draws: int, seed: int) -> dict[str, Any]:
    """How the intervals were made, and in `line` how far to trust them."""
    made = f"95 % intervals by bootstrap over the {patients} patients ({draws:,} draws)"
    if patients < 2:
        line = "No intervals: they need two patients."
    elif patients < FEWEST:
        line = f"{made}: with fewer than {FEWEST} patients they are decoration. Read them as a hint of the spread."
    else:
        line = f"{made}."
    return {
        "share": 0.95, "method": "percentile bootstrap over patients", "draws": draws if patients > 1 else 0,
        "seed": seed, "patients": patients, "decoration": patients < FEWEST, "line": line,
    }  # fmt: skip


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
