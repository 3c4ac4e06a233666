"""Bodies as implicit functions: signed distances in mm, negative inside, and how to join and soften them.

Ellipsoids use the first-order distance f / |grad f|, exact at the surface and close enough near it. Nothing here knows
anatomy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from train.phantom.grid import F32, Block, PhantomGrid, Point

FAR = 1e3
"""Distance in mm that stands for "not here"."""

Bead = tuple[float, float, float, float]
"""A point of a tube and its radius there: (x, y, z, radius) in mm."""

Path = Sequence[Bead]
"""A tube."""


def ellipsoid(x: F32, y: F32, z: F32, centre: Point, radii: Point, *, yaw: float = 0.0, tilt: float = 0.0) -> F32:
    """Approximate signed distance to an ellipsoid.

    yaw rotates it in the axial plane (radians, from x towards y), tilt leans its z axis towards x.
    """
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    if tilt:
        c, s = float(np.cos(tilt)), float(np.sin(tilt))
        dx, dz = c * dx - s * dz, s * dx + c * dz
    if yaw:
        c, s = float(np.cos(yaw)), float(np.sin(yaw))
        dx, dy = c * dx + s * dy, c * dy - s * dx
    rx, ry, rz = (1 / radius for radius in radii)
    dx, dy, dz = dx * rx, dy * ry, dz * rz
    k0 = np.sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx * rx, dy * ry, dz * rz
    distance: F32 = k0 * (k0 - 1) / (np.sqrt(dx * dx + dy * dy + dz * dz) + 1e-6)
    return distance


def ellipse(x: F32, y: F32, rx: F32 | float, ry: F32 | float) -> F32:
    """Rough signed distance to an axis-parallel ellipse around the origin; radii may vary from voxel to voxel."""
    u, v = x / rx, y / ry
    return np.asarray((np.sqrt(u * u + v * v) - 1) * np.minimum(rx, ry), np.float32)


def bar(x: F32, y: F32, start: tuple[float, float], end: tuple[float, float], radius: float) -> F32:
    """Signed distance to a rounded bar in the plane: all points within `radius` of the line from start to end."""
    ax, ay = end[0] - start[0], end[1] - start[1]
    px, py = x - start[0], y - start[1]
    t = np.clip((px * ax + py * ay) / max(ax * ax + ay * ay, 1e-6), 0, 1)
    px, py = px - t * ax, py - t * ay
    distance: F32 = np.sqrt(px * px + py * py)
    return distance - radius


def join(a: F32, b: F32, blend_mm: float) -> F32:
    """Union with a rounded seam of about `blend_mm` (polynomial smooth minimum)."""
    overlap = np.maximum(blend_mm - np.abs(a - b), 0)
    joined: F32 = np.minimum(a, b) - overlap * overlap * (0.25 / blend_mm)
    return joined


def meet(a: F32, b: F32, blend_mm: float) -> F32:
    """Intersection with a rounded edge of about `blend_mm`."""
    return -join(-a, -b, blend_mm)


def inside(distance: F32, grid: PhantomGrid, edge_mm: float, *, through_plane: bool = True) -> F32:
    """Fraction 0…1 of each voxel that lies inside, float32, from signed distances of a block [z, y, x].

    The edge is a ramp `edge_mm` wide, widened by the slice thickness where the surface lies oblique to the slice: the
    partial-volume blur of domes and poles.
    """
    if through_plane and distance.shape[0] > 1:
        thickness = grid.frame.thickness_mm
        width: F32 = np.asarray(np.gradient(distance, axis=0), np.float32)
        width *= thickness / grid.frame.spacing_mm[0]
        np.clip(width, -thickness, thickness, out=width)
        distance = distance / np.sqrt(width * width + edge_mm * edge_mm)
    else:
        distance = distance * (1 / edge_mm)
    part: F32 = np.clip(0.5 - distance, 0, 1)
    return part


class Tubes:
    """The union of many tubes of varying radius: signed distance `field`, float32, over one block of the grid."""

    def __init__(self, grid: PhantomGrid, low: Point, high: Point) -> None:
        self.grid = grid
        self.block = grid.block(low, high)
        self.field: F32 = np.full([max(s.stop - s.start, 0) for s in self.block], FAR, np.float32)

    def add(self, path: Path) -> None:
        """Add a tube through the points of `path`."""
        for here, there, start, end in self.pieces(path, 4.0):
            view = self.field[there]
            np.minimum(view, tube_distance(*self.grid.at(here), start, end), out=view)

    def add_pair(self, path: Path) -> None:
        """Add a tube of the patient's left, and its mirror image."""
        self.add(path)
        self.add([(-x, y, z, radius) for x, y, z, radius in path])

    def pieces(self, path: Path, pad_mm: float) -> Iterator[tuple[Block, Block, Bead, Bead]]:
        """The straight pieces of a path: index ranges around each in the grid and in `field`, and its two ends."""
        steps = self.grid.frame.step
        placed = [self.grid.locate(point) for point in path]
        for (start, at), (end, to) in pairwise(zip(path, placed, strict=True)):
            reach = 1.2 * max(start[3], end[3]) + pad_mm
            here = [
                slice(max(int(min(a, b) - reach / step), s.start), min(int(max(a, b) + reach / step) + 2, s.stop))
                for a, b, step, s in zip(at, to, steps, self.block, strict=True)
            ]
            if all(s.start < s.stop for s in here):
                there = [slice(h.start - b.start, h.stop - b.start) for h, b in zip(here, self.block, strict=True)]
                yield (here[0], here[1], here[2]), (there[0], there[1], there[2]), start, end


def bead(point: Sequence[float] | npt.NDArray[np.float64], radius: float) -> Bead:
    """A point with its radius, as plain floats."""
    return float(point[0]), float(point[1]), float(point[2]), float(radius)


def tube_distance(x: F32, y: F32, z: F32, start: Bead, end: Bead) -> F32:
    """Signed distance to a straight tube whose radius goes from start[3] to end[3]."""
    ax, ay, az = (end[i] - start[i] for i in range(3))
    px, py, pz = x - start[0], y - start[1], z - start[2]
    t = np.clip((px * ax + py * ay + pz * az) * (1 / max(ax * ax + ay * ay + az * az, 1e-6)), 0, 1)
    px, py, pz = px - t * ax, py - t * ay, pz - t * az
    distance: F32 = np.sqrt(px * px + py * py + pz * pz) - (t * (end[3] - start[3]) + start[3])
    return distance
