"""What a slice looks like, in a few numbers: brightness, noise, size of the body, by which series are compared.

    grey   of the slice as the network sees it (uint8, in its window); every slice has them
    HU     of the values that a file in HU holds, before the window cuts them off; pictures have none

One slice in four is looked at, on a grid of about 32×32 of its points: series are compared (`lits_deploy.drift`), and a
series has many slices. Which ones follows from the checksum of their pixels, so a slice is looked at in every run or in
none, whatever comes before it. Runs in the decode workers, and is as light; knows nothing about files.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.scans.gates import BODY_HU, DARK, LIGHT

ONE_IN = 4
"""Of how many slices one is looked at."""

GRID = 32
"""Points a side that are looked at, in slices of 64 pixels and more."""

GREY = ("tissue", "light", "low", "middle", "high", "mean", "noise", "height", "width", "hollow")
"""tissue, light: share of points that are brighter than air and fat, and as bright as bone, per mille. low, middle,
high: 10th, 50th and 90th percentile of what is between them; mean: of all tissue, in tenths of a grey level. noise: in
tenths of a grey level (`_grain`). height, width: standard deviation of where tissue is, per mille of the side. hollow:
share of dark points in the half of the body on the picture's right (lung, stomach, bowel), per mille."""

HU = ("body", "hu_low", "hu_middle", "hu_high", "hu_noise", "fat")
"""body: share of points above BODY_HU, per mille. hu_low to hu_high: the same percentiles of the body. hu_noise: in
tenths of an HU. fat: share of the body in FAT_HU, per mille."""

FAT_HU, SOFT_HU = (-150.0, -30.0), (-20.0, 150.0)
_FEWEST = 20  # points of a body, in a thousand: of fewer nothing can be said
_MOST = 32_767
_SHARES = np.array((0.1, 0.5, 0.9))
_GREYS = np.arange(DARK + 1, 256)
_NORMAL = 0.6745 * 6**0.5  # half of the absolute values of a normal distribution lie below 0.6745 deviations

Numbers = tuple[int, ...]
Values = npt.NDArray[Any]


def chosen(checksum: int) -> bool:
    """Whether the slice of this checksum (`decode.checksum`) is looked at."""
    return (checksum >> 32) % ONE_IN == 0


def look(grey: npt.NDArray[np.uint8], in_hu: Callable[[], Numbers] | None = None) -> Numbers:
    """The numbers GREY of a slice uint8 [S, S], then those of HU if its file has any; none where no body is seen."""
    numbers = of_grey(grey)
    return numbers + in_hu() if numbers and in_hu is not None else numbers


def of_grey(grey: npt.NDArray[np.uint8]) -> Numbers:
    """The numbers GREY of a slice uint8 [S, S]."""
    points = _points(grey, np.int16)
    at = points[1]
    tissue = at > DARK
    count = int(np.count_nonzero(tissue))
    if 1000 * count < _FEWEST * at.size:
        return ()
    row, height = _spread(tissue.sum(axis=1))
    column, width = _spread(tissue.sum(axis=0))
    counts = np.bincount(at.ravel(), minlength=256)
    between = counts[DARK + 1 : LIGHT].cumsum()
    low, middle, high = (between.searchsorted(_SHARES * between[-1]) + (DARK + 1)).tolist()
    numbers = (
        1000 * count / at.size,
        1000 * int(counts[LIGHT:].sum()) / at.size,
        low,
        middle,
        high,
        10 * int(counts[DARK + 1 :] @ _GREYS) / count,
        10 * _grain(points, DARK, LIGHT),
        1000 * height,
        1000 * width,
        1000 * _dark(tissue, (row - height, row + height), (column + 0.4 * width, column + 1.4 * width)),
    )
    return tuple(map(round, numbers))


def of_hu(stored: Values, hu: Callable[[Values], npt.NDArray[np.float32]]) -> Numbers:
    """The numbers HU of stored values [rows, columns]. hu: makes HU of them."""
    points = hu(_points(stored, stored.dtype))
    values = np.sort(points[1], axis=None)
    first, fat, lean = values.searchsorted((BODY_HU, *FAT_HU)).tolist()
    count = values.size - first
    if 1000 * count < _FEWEST * values.size:
        return ()
    low, middle, high = values[first:][(_SHARES * (count - 1)).astype(np.intp)].tolist()
    noise = 10 * _grain(points, *SOFT_HU)
    numbers = 1000 * count / values.size, low, middle, high, noise, 1000 * (lean - fat) / count
    return tuple(max(-_MOST, min(_MOST, round(number))) for number in numbers)


def is_look(value: object) -> bool:
    """Whether a decoder may have said it: the numbers of a slice, or none."""
    return (
        isinstance(value, list)
        and len(value) in (0, len(GREY), len(GREY + HU))
        and all(type(number) is int and abs(number) <= _MOST for number in value)
    )


def packed(numbers: Numbers) -> bytes:
    """As the ledger keeps them: 16 bits each, low byte first."""
    return struct.pack(f"<{len(numbers)}h", *numbers)


def unpacked(data: bytes) -> Numbers:
    """What `packed` made of them. ValueError for what it cannot have made."""
    if len(data) not in (2 * len(GREY), 2 * len(GREY + HU)):
        raise ValueError(f"{len(data)} bytes are no look at a slice")
    return struct.unpack(f"<{len(data) // 2}h", data)


def _points(pixels: Values, dtype: npt.DTypeLike) -> Values:
    """[3, n, m]: the points of the grid, between their neighbours to the left and to the right."""
    rows, columns = pixels.shape
    step = max(1, min(rows, columns) // GRID)
    start, end = max(1, step // 2), columns - 1
    points = np.empty((3, len(range(start, rows, step)), len(range(start, end, step))), dtype)
    for way in range(3):
        points[way] = pixels[start::step, start + way - 1 : end + way - 1 : step]
    return points


def _grain(points: Values, above: float, below: float) -> float:
    """Standard deviation of the noise in what lies between two values: from the second difference of neighbours in a
    row, in which flat and evenly rising tissue is 0 (normal noise of 1 gives it a deviation of √6)."""
    left, at, right = points
    found = np.abs(left + right - 2 * at)[(at > above) & (at < below)]
    if found.size == 0:
        return 0.0
    found.sort()
    return float(found[found.size // 2]) / _NORMAL


def _spread(counts: npt.NDArray[np.int_]) -> tuple[float, float]:
    """Mean and standard deviation of where counts lie, as shares of the side. Sums are whole: the same everywhere."""
    side = len(counts)
    whole, first, second = (_powers(side) @ counts).tolist()
    mean = first / whole
    return (mean + 0.5) / side, max(0.0, second / whole - mean * mean) ** 0.5 / side


@lru_cache(maxsize=8)
def _powers(side: int) -> npt.NDArray[np.int64]:
    return np.stack([np.arange(side, dtype=np.int64) ** power for power in range(3)])


def _dark(tissue: npt.NDArray[np.bool_], rows: tuple[float, float], columns: tuple[float, float]) -> float:
    """Share of points that are no tissue, between two rows and two columns, which are shares of the side."""
    high, wide = tissue.shape
    (top, bottom), (left, right) = (round(at * high) for at in rows), (round(at * wide) for at in columns)
    part = tissue[max(top, 0) : bottom, max(left, 0) : right]
    return 1.0 - int(np.count_nonzero(part)) / part.size if part.size else 0.0
