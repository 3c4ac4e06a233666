"""How the slices of a DICOM series lie in space: from position and direction to one regular grid, if they form one.

Axes are DICOM's (PS3.3, C.7.6.2.1.1): x to the patient's left, y to the back, z to the head, in mm. The grid's third
axis runs towards the head. Slices may be shifted against each other by the same amount each (a tilted gantry): the
grid then leans. Indices without a slice stay empty; slices at uneven distances have no grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lits_deploy.scans.orient import orientation_of

TOLERANCE = 0.1
"""How far a slice may lie from its position there, as a share of the distance of slices; at least TOLERANCE_MM."""

TOLERANCE_MM = 0.05
TWO_AT_ONE_POSITION = "several slices at one position"
MOST_GAPS = 3
"""Times more indices than slices, and the files that are there are no series of slices."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Where a slice lies: the middle of its first pixel, and the directions in which columns and rows rise.

    spacing: between rows, between columns. thickness: of the slice, or None. All in mm.
    """

    position: tuple[float, ...]
    along_columns: tuple[float, ...]
    along_rows: tuple[float, ...]
    spacing: tuple[float, ...]
    thickness: float | None = None


@dataclass(frozen=True, kw_only=True)
class VolumeGrid:
    """A regular grid. affine: (column, row, index, 1) → mm in DICOM's axes, float64 [4, 4].

    indices: of each slice given, from 0; count: of indices. leans: the third axis is not at right angles to the slices.
    """

    affine: Vector
    indices: tuple[int, ...]
    count: int
    leans: bool

    @property
    def empty(self) -> list[int]:
        """Indices without a slice."""
        return sorted(set(range(self.count)) - set(self.indices))


def grid_of(planes: Sequence[Plane]) -> VolumeGrid | str:
    """The grid of these slices, or why they form none."""
    first = planes[0]
    orientation = orientation_of(first.along_columns, first.along_rows)
    if orientation is None:
        return "the header does not say how the slices lie"
    normal = np.array(orientation.normal)
    corners = np.array([plane.position for plane in planes], dtype=np.float64)
    heights = corners @ normal
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    if len(planes) == 1:
        if not first.thickness:
            return "one slice whose header does not say how thick it is"
        step, indices = normal * first.thickness, np.zeros(1, dtype=np.int64)
    else:
        gap = float(np.median(gaps))
        tolerance = max(TOLERANCE * gap, TOLERANCE_MM)
        if gap <= TOLERANCE_MM or gaps.min() <= tolerance:
            return TWO_AT_ONE_POSITION
        # Counted from slice to slice: a rounded distance adds up over hundreds of slices.
        indices = np.zeros(len(planes), dtype=np.int64)
        indices[order[1:]] = np.cumsum(np.rint(gaps / gap).astype(np.int64).clip(min=1))
        step = (corners[order[-1]] - corners[order[0]]) / indices[order[-1]]
        off = corners - corners[order[0]] - indices[:, np.newaxis] * step
        if np.abs(off).max() > tolerance:
            return "the slices do not lie at even distances"
        if indices.max() >= (MOST_GAPS + 1) * len(planes):
            return "too many slices are missing between those that are there"
    across, down = (np.array(axis) / np.linalg.norm(axis) for axis in (first.along_columns, first.along_rows))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = across * first.spacing[1], down * first.spacing[0], step
    affine[:3, 3] = corners[order[0]]
    sideways = step - normal * float(step @ normal)
    leans = float(np.linalg.norm(sideways)) > TOLERANCE_MM
    return VolumeGrid(affine=affine, indices=tuple(map(int, indices)), count=int(indices.max()) + 1, leans=leans)


def to_ras(affine: Vector) -> Vector:
    """DICOM's axes → NIfTI's: x to the right and y to the front change their signs."""
    ras: Vector = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return ras
