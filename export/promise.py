"""What a rule will find and miss on new patients, estimated on patients that had no part in setting its threshold.

Nested folds: the threshold that decides a fold's slices, and everything it stands on (the temperature), is set on the
other folds. Their decisions together give sensitivity and specificity. A threshold that is checked on the patients that
set it looks better than it is: with 4 validation patients a sensitivity of 0.90 was 0.28 on others (docs/log.md).

Intervals are by bootstrap over patients, with the tails that Student's t asks for so few of them ("expanded
percentile", Hesterberg 2015, arXiv 1411.5279). The number of patients is Kish's effective one, for those with many
slices weigh more. Shares near 1 are skewed, so the quantiles that are corrected for it are taken, too, and of both the
outermost: either alone misses the truth in some 7 % of draws. A bootstrap of a figure that no patient contradicts has
no width: its bound is then the exact one for patients of whom each is wholly right or wholly wrong. How often intervals
of simulated patients hold the truth stands in docs/promises.md. Knows nothing about networks or files; a rule may be on
any score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from export.bootstrap import Resamples, quotient, resample

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Marks = Mapping[str, Bools]
"""Which slices each rule marks, bool [N] by rule."""

OUTSIDE = 0.05
"""The share of intervals that may miss the truth."""


def nested(groups: npt.NDArray[np.int64], mark: Callable[[Bools], Marks]) -> dict[str, Bools]:
    """Which slices each rule marks, none by a threshold that was set on its own group.

    groups: int64 [N], the fold of each slice, or its patient. mark: sets thresholds on the slices of a mask, bool [N],
    and marks all N by them.
    """
    marked: dict[str, Bools] = {}
    for group in np.unique(groups):
        own = groups == group
        for rule, found in mark(~own).items():
            marked.setdefault(rule, np.zeros(len(groups), dtype=np.bool_))[own] = found[own]
    return marked


def promises(marked: Marks, lesion: Bools, patients: npt.NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Sensitivity, specificity and counts of patients of each rule, as `operating_point.OperatingPoint` reads them.

    marked: of nested folds; lesion: bool [N]; patients: int64 [N], numbers from 0.
    """
    resamples = resample([f"{number:09d}" for number in patients])
    return {
        rule: {
            "sensitivity": share(found, lesion, resamples),
            "specificity": share(~found, ~lesion, resamples),
            "patients": _by_patient(found, lesion, patients),
        }
        for rule, found in marked.items()
    }


def share(right: Bools, among: Bools, resamples: Resamples) -> dict[str, float | None]:
    """Share of the slices `among` that are `right`, with its interval: value, low, high. No interval of one patient."""
    slices, hits = (np.bincount(resamples.of, part, resamples.counts.shape[1]) for part in (among, among & right))
    value = float(hits.sum() / slices.sum())
    count = int(np.count_nonzero(slices))
    if count < 2:
        return {"value": value, "low": None, "high": None}
    if value in (0.0, 1.0):
        bound = (OUTSIDE / 2) ** (1 / count)
        low, high = (bound, 1.0) if value else (0.0, 1 - bound)
    else:
        drawn = quotient(resamples.pooled(hits), resamples.pooled(slices))
        tail = tail_of(float(slices.sum() ** 2 / (slices**2).sum()))
        ends = [tail, 1 - tail, *_corrected(tail, drawn, hits, slices)]
        low, *_, high = np.sort(np.nanquantile(drawn, ends))
    return {"value": value, "low": min(float(low), value), "high": max(float(high), value)}


def _corrected(tail: float, drawn: Floats, hits: npt.NDArray[Any], slices: npt.NDArray[Any]) -> list[float]:
    """The quantiles in place of tail and 1 − tail for a figure that is skewed: BCa, Efron 1987.

    drawn: of the bootstrap, float64 [draws]; hits, slices: of each patient.
    """
    normal, value = NormalDist(), hits.sum() / slices.sum()
    below = float(((drawn < value) + 0.5 * (drawn == value)).mean())
    bias = normal.inv_cdf(min(max(below, 0.01), 0.99))
    without = quotient(hits.sum() - hits, slices.sum() - slices)  # the figure without each patient
    apart = np.nan_to_num(np.nanmean(without) - without)
    acceleration = float((apart**3).sum() / (6 * ((apart**2).sum() ** 1.5 + 1e-12)))
    ends = []
    for z in (normal.inv_cdf(max(tail, 1e-6)), -normal.inv_cdf(max(tail, 1e-6))):
        ends.append(normal.cdf(bias + (bias + z) / max(1 - acceleration * (bias + z), 0.1)))
    return ends


def tail_of(patients: float) -> float:
    """The quantile at which an interval over that many patients ends; less than 0.025, and that of many."""
    count = max(patients, 2.0)
    return NormalDist().cdf(-np.sqrt(count / (count - 1)) * _student(1 - OUTSIDE / 2, count - 1))


def _student(probability: float, freedom: float) -> float:
    """Quantile of Student's t, by Abramowitz and Stegun 26.7.5: within 1 % from three degrees of freedom on."""
    x = NormalDist().inv_cdf(probability)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return float(x + sum(term / freedom**power for power, term in enumerate(terms, start=1)))


def _by_patient(marked: Bools, lesion: Bools, patients: npt.NDArray[np.int64]) -> dict[str, int]:
    count = int(patients.max()) + 1
    ill, found, alarmed = (
        np.bincount(patients, part, minlength=count) > 0 for part in (lesion, lesion & marked, marked)
    )
    return {
        "with_lesion": int(ill.sum()),
        "found": int(found.sum()),
        "without": int((~ill).sum()),
        "marked": int((~ill & alarmed).sum()),
    }
