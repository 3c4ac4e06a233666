"""How a slice lies and how it is turned to stand as the contract says: anterior up, patient's right on the left.

The eight turns are the exact ones: rows and columns are swapped or not, and each is reversed or not. No pixel is
resampled, so every turn has an exact inverse, with which a mask comes back to lie on its source.
Directions are DICOM's (PS3.3, C.7.6.2.1.1): x to the patient's left, y to the back, z to the head; the standing slice
has columns that rise along x and rows that rise along y.
Knows nothing about headers: a reader brings two directions here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

MOST_TILT = 20.0
"""Degrees that a slice may lean out of the axial plane, or be turned within it, and still be called axial.

A gantry tilts by up to 30°, but for the head and the spine; what training saw is upright to within a few degrees.
"""


class Turn(NamedTuple):
    """Swap rows and columns, then reverse the rows, then the columns."""

    swap: bool
    reverse_rows: bool
    reverse_columns: bool


TURNS = {
    "": Turn(False, False, False),
    "flip-rows": Turn(False, True, False),
    "flip-columns": Turn(False, False, True),
    "rotate-180": Turn(False, True, True),
    "transpose": Turn(True, False, False),
    "rotate-left": Turn(True, True, False),
    "rotate-right": Turn(True, False, True),
    "anti-transpose": Turn(True, True, True),
}
"""Every turn by its name; `rotate-left` is a quarter turn against the clock."""

INVERSE = {name: name for name in TURNS} | {"rotate-left": "rotate-right", "rotate-right": "rotate-left"}
"""The turn that undoes a turn."""


def turned(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Slices [..., rows, columns] after the turn of that name; a view."""
    swap, reverse_rows, reverse_columns = TURNS[name]
    if swap:
        pixels = np.swapaxes(pixels, -1, -2)
    if reverse_rows:
        pixels = pixels[..., ::-1, :]
    return pixels[..., ::-1] if reverse_columns else pixels


def turned_back(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Slices [..., rows, columns] as they lay before `turned`; a view."""
    return turned(pixels, INVERSE[name])


class Margins(NamedTuple):
    """Lines of air that make a slice square: before and after its rows, before and after its columns."""

    top: int
    bottom: int
    left: int
    right: int


def margins(rows: int, columns: int) -> Margins:
    """What has to be added to [rows, columns] to make it square with the picture in the middle."""
    side = max(rows, columns)
    above, before = (side - rows) // 2, (side - columns) // 2
    return Margins(above, side - rows - above, before, side - columns - before)


def squared(pixels: npt.NDArray[Any], fill: int | float) -> npt.NDArray[Any]:
    """Slices [..., rows, columns] as [..., side, side], `fill` around the picture; the same array if it is square."""
    top, bottom, left, right = margins(*pixels.shape[-2:])
    if top + bottom + left + right == 0:
        return pixels
    around = [(0, 0)] * (pixels.ndim - 2) + [(top, bottom), (left, right)]
    return np.pad(pixels, around, constant_values=fill)


def unsquared(pixels: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    """The picture [..., rows, columns] in the middle of what `squared` made of it; a view."""
    top, _, left, _ = margins(rows, columns)
    return pixels[..., top : top + rows, left : left + columns]


@dataclass(frozen=True, kw_only=True)
class Lie:
    """How slices lie.

    turn: name of the turn that makes them stand; empty where they stand already or are not axial.
    axial: whether they are within MOST_TILT. words: `axial`, `axial, tilted 12°`, `coronal`, `sagittal`, `oblique`.
    normal: unit vector across the slices, towards the head (of other than axial slices: to its largest component).
    """

    turn: str
    axial: bool
    words: str
    normal: tuple[float, float, float]


def lie_of(along_columns: Sequence[float], along_rows: Sequence[float]) -> Lie | None:
    """How a slice lies whose columns rise along one direction and whose rows rise along the other.

    Both are x, y, z in DICOM's axes, of any length. None where they are no two directions at right angles (to 3°).
    """
    return _lie_of(tuple(along_columns), tuple(along_rows))


@lru_cache(maxsize=64)  # the slices of a series lie alike
def _lie_of(along_columns: tuple[float, ...], along_rows: tuple[float, ...]) -> Lie | None:
    across, down = _unit(along_columns), _unit(along_rows)
    if across is None or down is None or abs(float(across @ down)) > math.sin(math.radians(3)):
        return None
    normal = np.cross(across, down)
    normal /= np.linalg.norm(normal)
    if normal[np.abs(normal).argmax()] < 0:
        normal = -normal
    name, miss = min(((name, _miss(across, down, turn)) for name, turn in TURNS.items()), key=lambda pair: pair[1])
    tilt = _degrees(float(normal[2]))
    if max(miss, tilt) <= MOST_TILT + 0.01:
        words = "axial" if tilt < 1 else f"axial, tilted {tilt:.0f}°"
        return Lie(turn=name, axial=True, words=words, normal=_triple(normal))
    return Lie(turn="", axial=False, words=_plane(normal, tilt), normal=_triple(normal))


def _miss(across: npt.NDArray[np.float64], down: npt.NDArray[np.float64], turn: Turn) -> float:
    """Degrees by which the axes of a slice, once turned, miss left and back."""
    if turn.swap:
        across, down = down, across
    left = -across[0] if turn.reverse_columns else across[0]
    back = -down[1] if turn.reverse_rows else down[1]
    return max(_degrees(float(left)), _degrees(float(back)))


def _plane(normal: npt.NDArray[np.float64], tilt: float) -> str:
    if tilt <= MOST_TILT:
        return "axial, turned in its plane"
    if _degrees(abs(float(normal[1]))) <= MOST_TILT:
        return "coronal"
    return "sagittal" if _degrees(abs(float(normal[0]))) <= MOST_TILT else "oblique"


def _unit(direction: Sequence[float]) -> npt.NDArray[np.float64] | None:
    vector = np.asarray(direction, dtype=np.float64)
    length = float(np.linalg.norm(vector)) if vector.shape == (3,) else 0.0
    return vector / length if math.isfinite(length) and length > 1e-6 else None


def _degrees(cosine: float) -> float:
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def _triple(vector: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])
