"""Where every voxel lies in the body: the map from the image to one reference adult, and smooth 3D noise.

All anatomy is written once, in the millimetres of a reference adult:

- x grows to the patient's left (the image's right), 0 in the midline;
- y grows backwards (the image's bottom), 0 half-way between breastbone and back muscles;
- z grows towards the head, 0 at the top of the iliac crest; the liver lies at about 60…225.

A patient is a scaling of that frame plus a smooth 3D displacement, so organs move, bend and swell together and no
outline stays an ellipse. This module knows nothing about organs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

F32 = npt.NDArray[np.float32]
Block = tuple[slice, slice, slice]
Point = tuple[float, float, float]

SIZE = 256
"""Pixels along a side of a slice."""

COARSE = 64
"""Pixels along a side where smooth fields are evaluated before they are stretched to `SIZE`."""

WARP_MM = (7.0, 6.0, 7.0)
"""Largest displacement along x, y, z in mm: blocks are padded by it."""


@dataclass(frozen=True, kw_only=True)
class SliceGeometry:
    """How a patient's slices lie in space.

    z_mm: float32 [Z], height of each slice's centre in the reference frame, before warping.
    step_mm: reference millimetres from slice to slice.
    scale: patient millimetres per reference millimetre along x, y, z.
    pixel_mm, thickness_mm: in patient millimetres.
    centre: column and row of the reference axis x = y = 0.
    """

    z_mm: F32
    step_mm: float
    scale: Point
    pixel_mm: float
    thickness_mm: float
    centre: tuple[float, float]

    @property
    def step(self) -> Point:
        """Reference millimetres per voxel along z, y, x."""
        return (self.step_mm, self.pixel_mm / self.scale[1], self.pixel_mm / self.scale[0])

    @property
    def spacing_mm(self) -> Point:
        """Patient millimetres per voxel along z, y, x."""
        return (self.step_mm * self.scale[2], self.pixel_mm, self.pixel_mm)

    def axes(self, size: int = SIZE) -> tuple[F32, F32]:
        """Reference y and x of `size` evenly spread rows and columns, float32 [size] each."""
        at = (np.arange(size, dtype=np.float32) + 0.5) * (SIZE / size) - 0.5
        _, dy, dx = self.step
        return (at - self.centre[1]) * dy, (at - self.centre[0]) * dx


class PhantomGrid:
    """Reference coordinates `x`, `y`, `z` of every voxel, float32 [Z, 256, 256] in mm, and noise fields beside them.

    lumps: smooth fields in −1…1, float32 [Z, 256, 256], bumps about 30–60 mm wide; organs add one to their outline.
    """

    def __init__(self, frame: SliceGeometry, rng: np.random.Generator) -> None:
        self.frame = frame
        self.shape = (len(frame.z_mm), SIZE, SIZE)
        rows, columns = frame.axes()
        self.straight = frame.z_mm[:, None, None], rows[None, :, None], columns[None, None, :]
        self.x, self.y, self.z = (smooth_noise(frame, rng, 75.0) for _ in range(3))
        for field, most, axis in zip((self.x, self.y, self.z), WARP_MM, self.straight[::-1], strict=True):
            field *= most
            field += axis
        self.lumps = [smooth_noise(frame, rng, scale) for scale in (30.0, 38.0, 50.0)]

    def _index(self, point: Sequence[float]) -> Point:
        """Index (z, y, x), not rounded, where a reference point in mm would lie without the warp."""
        dz, dy, dx = self.frame.step
        column, row = self.frame.centre
        return (point[2] - float(self.frame.z_mm[0])) / dz, point[1] / dy + row, point[0] / dx + column

    def block(self, low: Point, high: Point) -> Block:
        """Index ranges (z, y, x), maybe empty, that hold the reference box `low`…`high` in mm however it is warped."""
        start = self._index([mm - warp for mm, warp in zip(low, WARP_MM, strict=True)])
        end = self._index([mm + warp for mm, warp in zip(high, WARP_MM, strict=True)])
        first = np.clip(np.floor(start).astype(int) - 1, 0, self.shape).tolist()
        z, y, x = map(slice, first, np.clip(np.ceil(end).astype(int) + 2, 0, self.shape).tolist())
        return z, y, x

    def locate(self, point: Sequence[float]) -> Point:
        """Index (z, y, x), not rounded, of the voxel at a reference point in mm: undoes the warp to about 1 mm."""
        found = self._index(point)
        for _ in range(2):
            k, r, c = (min(max(round(at), 0), n - 1) for at, n in zip(found, self.shape, strict=True))
            z, y, x = self.straight
            warp = self.x[k, r, c] - x[0, 0, c], self.y[k, r, c] - y[0, r, 0], self.z[k, r, c] - z[k, 0, 0]
            found = self._index([mm - float(moved) for mm, moved in zip(point, warp, strict=False)])
        return found

    def at(self, block: Block) -> tuple[F32, F32, F32]:
        """Reference x, y, z of a block's voxels, float32 views."""
        return self.x[block], self.y[block], self.z[block]


def smooth_noise(frame: SliceGeometry, rng: np.random.Generator, scale_mm: float) -> F32:
    """Smooth noise in −1…1, float32 [Z, 256, 256]: cubic B-splines over random knots `scale_mm` apart.

    The knots lie at fixed places of the body, whatever the slices: more slices sample the same field more finely.
    """
    rows, columns = frame.axes(COARSE)
    knots_at = [(-320.0, 520.0), (-260.0, 260.0), (-330.0, 330.0)]
    counts = [int(np.ceil((high - low) / scale_mm)) + 4 for low, high in knots_at]
    field: F32 = rng.random(counts, dtype=np.float32) * 2 - 1
    for axis, (at, (low, _)) in enumerate(zip((frame.z_mm, rows, columns), knots_at, strict=True)):
        field = _cubic(field, (at - low) / scale_mm, axis)
    field *= 3.0
    field /= np.sqrt(field * field + 1)
    return stretch(field)


def _cubic(values: F32, at: F32, axis: int) -> F32:
    """Uniform cubic B-spline through `values` along `axis`, evaluated at positions `at` in knots, clamped."""
    at = np.clip(at, 0, values.shape[axis] - 4)
    first = np.minimum(at.astype(np.intp), values.shape[axis] - 4)
    t = (at - first).astype(np.float32)
    s = 1 - t
    shape = [1, 1, 1]
    shape[axis] = len(at)
    total = np.zeros((), np.float32)
    for k, weight in enumerate((s**3, 3 * t**3 - 6 * t**2 + 4, 3 * s**3 - 6 * s**2 + 4, t**3)):
        total = total + np.take(values, first + k, axis=axis) * (weight / 6).reshape(shape)
    return total


def stretch(field: F32) -> F32:
    """Stretch [Z, h, w] to [Z, 256, 256] linearly; pixel centres stay aligned, the edge pixels repeat."""
    result = np.empty((len(field), SIZE, SIZE), np.float32)
    for level, plane in enumerate(field):
        result[level] = np.asarray(Image.fromarray(plane).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    return result
