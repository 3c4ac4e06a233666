"""A slice's orientation, and how it is reoriented as the contract says: anterior up, patient's right on the left.

The eight reorientations are exact: rows and columns are swapped or not, and each is reversed or not. No pixel is
resampled, so each has an exact inverse, with which a mask comes back onto its source.
Directions are DICOM's (PS3.3, C.7.6.2.1.1): x to the patient's left, y to the back, z to the head; the reoriented slice
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
"""Degrees that a slice may lean out of the axial plane, or be rotated within it, and still be called axial.

A gantry tilts by up to 30°, but for the head and the spine; what training saw is upright to within a few degrees.
"""


class Reorientation(NamedTuple):
    """Swap rows and columns, then reverse the rows, then the columns."""

    swap: bool
    reverse_rows: bool
    reverse_columns: bool


REORIENTATIONS = {
    "": Reorientation(False, False, False),
    "flip-rows": Reorientation(False, True, False),
    "flip-columns": Reorientation(False, False, True),
    "rotate-180": Reorientation(False, True, True),
    "transpose": Reorientation(True, False, False),
    "rotate-left": Reorientation(True, True, False),
    "rotate-right": Reorientation(True, False, True),
    "anti-transpose": Reorientation(True, True, True),
}
"""By name; `rotate-left` is a quarter turn against the clock."""

INVERSE = {name: name for name in REORIENTATIONS} | {"rotate-left": "rotate-right", "rotate-right": "rotate-left"}
"""The reorientation that undoes one."""


def reoriented(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Slices [..., rows, columns] after the reorientation of that name; a view."""
    swap, reverse_rows, reverse_columns = REORIENTATIONS[name]
    if swap:
        pixels = np.swapaxes(pixels, -1, -2)
    if reverse_rows:
        pixels = pixels[..., ::-1, :]
    return pixels[..., ::-1] if reverse_columns else pixels


def restored(pixels: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Slices [..., rows, columns] as they were before `reoriented`; a view."""
    return reoriented(pixels, INVERSE[name])


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
class Orientation:
    """Of slices in the patient.

    reorientation: name of the one that they need; empty where they need none or are not axial.
    axial: whether they are within MOST_TILT. text: `axial`, `axial, tilted 12°`, `coronal`, `sagittal`, `oblique`.
    normal: unit vector across the slices, towards the head (of other than axial slices: to its largest component).
    """

    reorientation: str
    axial: bool
    text: str
    normal: tuple[float, float, float]


def orientation_of(along_columns: Sequence[float], along_rows: Sequence[float]) -> Orientation | None:
    """Of a slice whose columns rise along one direction and whose rows rise along the other.

    Both are x, y, z in DICOM's axes, of any length. None where they are no two directions at right angles (to 3°).
    """
    return _orientation_of(tuple(along_columns), tuple(along_rows))


@lru_cache(maxsize=64)  # the slices of a series have one
def _orientation_of(along_columns: tuple[float, ...], along_rows: tuple[float, ...]) -> Orientation | None:
    across, down = _unit(along_columns), _unit(along_rows)
    if across is None or down is None or abs(float(across @ down)) > math.sin(math.radians(3)):
        return None
    normal = np.cross(across, down)
    normal /= np.linalg.norm(normal)
    if normal[np.abs(normal).argmax()] < 0:
        normal = -normal
    name, miss = min(
        ((name, _miss(across, down, one)) for name, one in REORIENTATIONS.items()), key=lambda pair: pair[1]
    )
    tilt = _degrees(float(normal[2]))
    if max(miss, tilt) <= MOST_TILT + 0.01:
        text = "axial" if tilt < 1 else f"axial, tilted {tilt:.0f}°"
        return Orientation(reorientation=name, axial=True, text=text, normal=_triple(normal))
    return Orientation(reorientation="", axial=False, text=_plane(normal, tilt), normal=_triple(normal))


def _miss(across: npt.NDArray[np.float64], down: npt.NDArray[np.float64], by: Reorientation) -> float:
    """Degrees by which the axes of a slice, once reoriented, miss left and back."""
    if by.swap:
        across, down = down, across
    left = -across[0] if by.reverse_columns else across[0]
    back = -down[1] if by.reverse_rows else down[1]
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
