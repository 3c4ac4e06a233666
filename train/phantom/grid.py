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
class Frame:
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

    def axes(self, size: int = SIZE) -> tuple[F32, F32]:
        """Reference y and x of `size` evenly spread rows and columns, float32 [size] each."""
        at = (np.arange(size, dtype=np.float32) + 0.5) * (SIZE / size) - 0.5
        _, dy, dx = self.step
        return (at - self.centre[1]) * np.float32(dy), (at - self.centre[0]) * np.float32(dx)


class Grid:
    """Reference coordinates `x`, `y`, `z` of every voxel, float32 [Z, 256, 256] in mm, and noise fields beside them.

    lumps: smooth fields in −1…1, float32 [Z, 256, 256], bumps about 30–60 mm wide; organs add one to their outline.
    """

    def __init__(self, frame: Frame, rng: np.random.Generator) -> None:
        self.frame = frame
        self.shape = (len(frame.z_mm), SIZE, SIZE)
        rows, columns = frame.axes()
        self.rows, self.columns = rows, columns
        shift = [smooth_noise(frame, rng, 75.0) for _ in range(3)]
        self.x: F32 = shift[0] * np.float32(WARP_MM[0]) + columns[None, None, :]
        self.y: F32 = shift[1] * np.float32(WARP_MM[1]) + rows[None, :, None]
        self.z: F32 = shift[2] * np.float32(WARP_MM[2]) + frame.z_mm[:, None, None]
        self.lumps = [smooth_noise(frame, rng, scale) for scale in (30.0, 38.0, 50.0)]

    def block(self, low: Point, high: Point) -> Block | None:
        """Index ranges (z, y, x) that contain the reference box `low`…`high` in mm wherever the warp moves it."""
        dz, dy, dx = self.frame.step
        x0, y0 = self.frame.centre
        spans = (
            _span((low[2] - WARP_MM[2] - self.frame.z_mm[0]) / dz, (high[2] + WARP_MM[2] - self.frame.z_mm[0]) / dz),
            _span((low[1] - WARP_MM[1]) / dy + y0, (high[1] + WARP_MM[1]) / dy + y0),
            _span((low[0] - WARP_MM[0]) / dx + x0, (high[0] + WARP_MM[0]) / dx + x0),
        )
        clipped = [(max(a, 0), min(b, n)) for (a, b), n in zip(spans, self.shape, strict=True)]
        if any(a >= b for a, b in clipped):
            return None
        (z0, z1), (r0, r1), (c0, c1) = clipped
        return slice(z0, z1), slice(r0, r1), slice(c0, c1)

    def locate(self, point: Sequence[float]) -> Point:
        """Index (z, y, x), not rounded, of the voxel at a reference point in mm: undoes the warp to about 1 mm."""
        dz, dy, dx = self.frame.step
        x0, y0 = self.frame.centre
        z0 = float(self.frame.z_mm[0])
        top, last = self.shape[0] - 1, SIZE - 1
        x, y, z = point[0], point[1], point[2]
        for _ in range(2):
            k, r, c = round((z - z0) / dz), round(y / dy + y0), round(x / dx + x0)
            at = (min(max(k, 0), top), min(max(r, 0), last), min(max(c, 0), last))
            x = point[0] - float(self.x[at] - self.columns[at[2]])
            y = point[1] - float(self.y[at] - self.rows[at[1]])
            z = point[2] - float(self.z[at] - self.frame.z_mm[at[0]])
        return (z - z0) / dz, y / dy + y0, x / dx + x0

    def at(self, block: Block) -> tuple[F32, F32, F32]:
        """Reference x, y, z of a block's voxels, float32 views."""
        return self.x[block], self.y[block], self.z[block]


def _span(low: float, high: float) -> tuple[int, int]:
    return int(np.floor(low)) - 1, int(np.ceil(high)) + 2


def smooth_noise(frame: Frame, rng: np.random.Generator, scale_mm: float) -> F32:
    """Smooth noise in −1…1, float32 [Z, 256, 256]: cubic B-splines over random knots `scale_mm` apart.

    The knots lie at fixed places of the body, whatever the slices: more slices sample the same field more finely.
    """
    rows, columns = frame.axes(COARSE)
    knots_at = [(-320.0, 520.0), (-260.0, 260.0), (-330.0, 330.0)]
    counts = [int(np.ceil((high - low) / scale_mm)) + 4 for low, high in knots_at]
    field: F32 = rng.random(counts, dtype=np.float32) * np.float32(2) - np.float32(1)
    for axis, (at, (low, _)) in enumerate(zip((frame.z_mm, rows, columns), knots_at, strict=True)):
        field = _cubic(field, (at - np.float32(low)) / np.float32(scale_mm), axis)
    field *= np.float32(3.0)
    field /= np.sqrt(field * field + np.float32(1))
    return stretch(field)


def _cubic(values: F32, at: F32, axis: int) -> F32:
    """Uniform cubic B-spline through `values` along `axis`, evaluated at positions `at` in knots, clamped."""
    at = np.clip(at, 0, values.shape[axis] - 4)
    first = np.minimum(at.astype(np.intp), values.shape[axis] - 4)
    t = (at - first).astype(np.float32)
    s = np.float32(1) - t
    weights = (s**3, 3 * t**3 - 6 * t**2 + 4, 3 * s**3 - 6 * s**2 + 4, t**3)
    shape = [1, 1, 1]
    shape[axis] = len(at)
    total = np.zeros((), np.float32)
    for k, weight in enumerate(weights):
        total = total + np.take(values, first + k, axis=axis) * (weight / np.float32(6)).reshape(shape)
    return np.asarray(total, np.float32)


def stretch(field: F32, size: int = SIZE) -> F32:
    """Stretch [Z, h, w] to [Z, size, size] linearly; pixel centres stay aligned, the edge pixels repeat."""
    for axis in (2, 1):
        n = field.shape[axis]
        at = np.clip((np.arange(size, dtype=np.float32) + 0.5) * (n / size) - 0.5, 0, n - 1)
        low = np.minimum(at.astype(np.intp), n - 2)
        weight = (at - low).astype(np.float32).reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
        base = np.take(field, low, axis=axis)
        step = np.take(field, low + 1, axis=axis)
        step -= base
        step *= weight
        step += base
        field = step
    return field
