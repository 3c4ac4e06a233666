"""A series in some twenty numbers and a few words: how its slices look, how they lie, and how they were answered.

    by look    medians over the slices that were looked at (`scans.appearance`), one in four; and how two of
               these numbers rise along the series, as their correlation with the index
    by header  what the file says: spacing, and with what it was made (`scans.dicom.technique`)
    answers    probabilities and abstentions; they depend on the network, the others do not

Slices that were excluded, failed, or are copies do not count. What cannot be had is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.drift.features import Column
from lits_deploy.scans.appearance import GREY, HU, unpacked

LEAST_LOOKS = 6
"""Slices that must have been looked at: fewer say more about where they happen to lie than about their series."""

LEAST_ANSWERS = 20
"""Answered slices that a share is given for."""

ORDERED = ("position", "number in the name")
"""What must have given a series' order for its rises to mean anything: names count from the feet, as in training."""

TECHNIQUE = {"scanner": "scanner", "kernel": "kernel", "voltage": "tube voltage"}
"""What is compared of `scans.dicom.technique` → what it is called."""

Looks = Sequence[tuple[int, bytes]]
"""Place along the series and packed look of each slice that was looked at."""


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """A series in numbers (of `numbers.NUMBERS`) and technique (of TECHNIQUE), as far as they are known."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    technique: Mapping[str, str] = field(default_factory=dict)


def portrait(
    info: Mapping[str, Any],
    arranged: Mapping[str, Any],
    looks: Iterable[tuple[int, bytes]],
    probabilities: npt.NDArray[np.floating[Any]],
    unsure: int,
) -> Portrait:
    """A series. info, arranged: of `ledger.VolumeRow`; looks: along it; probabilities: float [N, 3] of the slices that
    were answered; unsure: how many of them got no class."""
    numbers = by_looks(list(looks), ordered=arranged.get("by") in ORDERED)
    numbers |= _by_header(info, arranged, numbers) | by_answers(probabilities, unsure)
    technique = info.get("technique") or {}
    return Portrait(numbers=numbers, technique={name: str(technique[name]) for name in TECHNIQUE if name in technique})


def by_looks(looks: Looks, *, ordered: bool = True) -> dict[str, float]:
    """The numbers that looks give; none of fewer than LEAST_LOOKS, and none in HU unless all of them have HU.

    ordered: it is known which of the series' ends is nearer to the head.
    """
    if len(looks) < LEAST_LOOKS:
        return {}
    seen = [unpacked(look) for _, look in looks]
    names = GREY + HU if all(len(one) == len(GREY + HU) for one in seen) else GREY
    table = np.array([one[: len(names)] for one in seen], np.float64)
    found = dict(zip(names, np.median(table, axis=0).tolist(), strict=True))
    del found["mean"]  # between `middle` and `light`: its rise alone says something of its own
    indices = np.array([index for index, _ in looks], np.float64)
    for name, of in (("rise", "hollow"), ("climb", "mean")) if ordered else ():
        if (correlation := _correlation(indices, table[:, names.index(of)])) is not None:
            found[name] = correlation
    return found


def by_answers(probabilities: npt.NDArray[np.floating[Any]], unsure: int) -> dict[str, float]:
    """The numbers that answers give: of probabilities float [N, 3], and of how many slices got no class."""
    if len(probabilities) < LEAST_ANSWERS:
        return {}
    highest = probabilities.max(axis=1)
    return {
        "liver": float((probabilities[:, 1:].sum(axis=1) > 0.5).mean()),
        "unsure": unsure / len(highest),
        "suspect": float(probabilities[:, 2].mean()),
        "surest": float(highest.mean()),
    }


def by_size(sides_mm: Sequence[float], numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers that the height and width of slices give. numbers: those by looks."""
    found = {"field_mm": max(sides_mm)}  # the shorter side is padded
    if "body" in numbers:  # as wide as a disc of its area
        found["body_mm"] = 2 * math.sqrt(numbers["body"] / 1000 * math.prod(sides_mm) / math.pi)
    return found


def _by_header(info: Mapping[str, Any], arranged: Mapping[str, Any], numbers: Mapping[str, float]) -> dict[str, float]:
    geometry, found = info.get("geometry") or {}, dict[str, float]()
    if spacing := geometry.get("spacing_mm"):
        found |= by_size((geometry["rows"] * spacing[0], geometry["columns"] * spacing[1]), numbers)
    if arranged.get("in_mm") and arranged.get("step_mm"):
        found["step_mm"] = float(arranged["step_mm"])
    if thickness := (info.get("technique") or {}).get("thickness_mm"):
        found["thickness_mm"] = float(thickness)
    return {name: value for name, value in found.items() if value > 0}


def _correlation(indices: Column, values: Column) -> float | None:
    if np.ptp(indices) == 0 or np.ptp(values) == 0:
        return None
    return float(np.corrcoef(indices, values)[0, 1])
