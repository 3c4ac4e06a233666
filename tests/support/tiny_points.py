"""Operating points of a made-up bundle, as `export` writes them."""

from __future__ import annotations

from typing import Any


def share(value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    """A share with its interval."""
    return {"value": value, "low": low, "high": high}


def point(rule: str, threshold: float | None, found: float, marked: float) -> dict[str, Any]:
    """A rule that finds and marks such shares of slices, each within 0.1."""
    sensitivity, specificity = (
        share(value, round(value - 0.1, 3), min(1.0, value + 0.1)) for value in (found, 1 - marked)
    )
    patients = {"with_lesion": 19, "found": 18, "without": 2, "marked": 1}
    return {
        "rule": rule,
        "threshold": threshold,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "patients": patients,
    }


POINTS: tuple[dict[str, Any], ...] = (
    point("argmax", None, 0.25, 0.03),
    point("balanced", 0.5, 0.7, 0.2),
    point("sensitivity=0.9", 0.125, 0.88, 0.4),
    point("specificity=0.95", 2.0, 0.5, 0.05),
)

PROMISE: dict[str, Any] = {
    "source": "out of fold",
    "data": "lits",
    "split_by": "patient",
    "synthetic": False,
    "slices": 4471,
    "patients": 21,
    "with_lesion": 19,
    "groups": 5,
}
