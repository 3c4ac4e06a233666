"""The container: skin, fat, muscle wall, the cavities of abdomen and chest, the diaphragm, and the couch below.

`Trunk` holds signed distances (mm, negative inside) that the organs are fitted into: the liver leans on the wall and
on the diaphragm because it is cut by them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.phantom.canvas import EVERYWHERE, FAT_HU, Canvas
from train.phantom.grid import F32, PhantomGrid
from train.phantom.patient import Patient
from train.phantom.shapes import FAR, ellipse, ellipsoid, inside, join

# Half-width, front and back (mm) at heights z (mm): of the muscular outline, and of the cavity inside the wall, which
# is peritoneum and retroperitoneum, above z = 100 the rib cage's inside.
_LEVELS = (-200, -165, -120, -80, -40, 0, 40, 80, 120, 160, 210, 260, 300, 340, 380)
_OUTLINE = (
    (166, 166, 164, 156, 144, 131, 126, 131, 139, 146, 149, 147, 149, 160, 172),
    (-74, -78, -86, -88, -88, -89, -91, -94, -99, -104, -107, -107, -106, -104, -98),
    (104, 108, 110, 108, 104, 100, 100, 101, 103, 105, 105, 105, 106, 106, 104),
)
_CAVITY = (
    (40, 50, 61, 87, 103, 108, 109, 118, 128, 134, 136, 134, 129, 120, 100),
    (-50, -58, -70, -77, -78, -79, -81, -84, -88, -92, -95, -95, -93, -88, -76),
    (55, 66, 72, 68, 60, 60, 64, 71, 78, 82, 83, 83, 82, 80, 76),
)
# Subcutaneous fat at the sides, in front and behind, relative to the patient's: thick behind the hips and on the belly.
_FAT_LEVELS = (-170, -90, -20, 40, 110, 180, 260, 340)
_FAT = (
    (1.5, 1.3, 1.25, 1.1, 0.75, 0.6, 0.6, 0.7),
    (1.3, 1.5, 1.5, 1.35, 1.0, 0.7, 0.65, 0.6),
    (1.7, 1.7, 1.5, 1.1, 0.7, 0.55, 0.55, 0.7),
)


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Signed distances over the whole volume, float32 [Z, 256, 256], mm: skin, muscular outline, cavity, diaphragm.

    below: negative under the diaphragm (abdomen), positive above it (chest).
    """

    skin: F32
    outline: F32
    cavity: F32
    below: F32


def build_trunk(grid: PhantomGrid, patient: Patient) -> Trunk:
    """Compute the container of one patient."""
    radius: F32 = np.sqrt(grid.x * grid.x + grid.y * grid.y) + np.float32(1e-3)
    outline = _rounded(grid, patient, radius, _OUTLINE, 1.25)
    outline += np.where(grid.y > 0, np.float32(5.5), np.float32(1.5)) * np.exp(-((grid.straight[2] / 11) ** 2))
    outline += grid.lumps[0] * 2
    cavity = _rounded(grid, patient, radius, _CAVITY, 1.35)
    cavity += grid.lumps[1] * 2
    skin = outline - _fat(grid, patient, radius)
    return Trunk(skin=skin, outline=outline, cavity=cavity, below=_diaphragm(grid))


def _at_levels(grid: PhantomGrid, levels: tuple[float, ...], columns: tuple[tuple[float, ...], ...]) -> list[F32]:
    return [np.interp(grid.straight[0], levels, column).astype(np.float32) for column in columns]


def _rounded(
    grid: PhantomGrid, patient: Patient, radius: F32, table: tuple[tuple[float, ...], ...], fullness: float
) -> F32:
    """Radial distance to u² + v² + fullness·u·v = 1, u and v squared relative coordinates: 2 is an ellipse, 0 a box."""
    width, front, back = _at_levels(grid, _LEVELS, table)
    bulge = (patient.belly - 1) * np.exp(-(((grid.straight[0] - 40) / 110) ** 2))
    u = grid.x * (1 / (width * (1 + 0.35 * bulge)))
    v = np.where(grid.y < 0, grid.y * (1 / (front * (1 + bulge))), grid.y * (1 / back))
    u, v = u * u, v * v
    rho = np.sqrt(np.sqrt(u * v * fullness + u * u + v * v)) + 1e-6
    distance: F32 = radius - radius / rho
    return distance


def _fat(grid: PhantomGrid, patient: Patient, radius: F32) -> F32:
    """Thickness of the subcutaneous fat and skin in mm."""
    side, front, back = _at_levels(grid, _FAT_LEVELS, _FAT)
    upright = grid.y / radius
    thick = side + np.where(grid.y < 0, front - side, back - side) * (upright * upright)
    mm: F32 = thick * (patient.fat_mm * (1 + 0.3 * grid.lumps[2])) + 2.5
    return mm


def _diaphragm(grid: PhantomGrid) -> F32:
    """Two domes and the central tendon as upright half-ellipsoids that go on as cylinders below z = 105."""
    block = grid.block((-150, -120, 100), (150, 120, 400))
    field = np.full(grid.shape, -FAR, np.float32)
    x, y, z = grid.at(block)
    z = np.maximum(z, 105)
    right = ellipsoid(x, y, z, (-70, -12, 105), (90, 97, 122), yaw=-0.12)
    left = ellipsoid(x, y, z, (70, -6, 105), (86, 92, 110), yaw=0.12)
    middle = ellipsoid(x, y, z, (0, -34, 105), (78, 76, 98))
    field[block] = join(join(right, left, 18.0), middle, 18.0)
    return field


def paint_trunk(canvas: Canvas, trunk: Trunk, patient: Patient) -> None:
    """Paint skin, fat and the muscle wall, and the fat with strands in it that fills the cavities."""
    _paint_through(canvas, trunk.skin, canvas.grain * 5 + FAT_HU)
    _paint_through(canvas, np.abs(trunk.skin + 1.3) - np.float32(1.3), 38.0)
    _paint_wall(canvas, trunk, patient)
    strands: F32 = np.clip(canvas.mottle * 60 + canvas.grain * 50 - 106, 0, 102) + np.float32(FAT_HU)
    _paint_through(canvas, trunk.cavity, strands)
    _paint_through(canvas, np.abs(trunk.cavity) - np.float32(0.5), patient.tissue.muscle, amount=0.45)


def _paint_through(canvas: Canvas, distance: F32, value: F32 | float, *, amount: float = 1.0) -> None:
    """Paint over the whole volume, without blur through the slice: these surfaces run along the body."""
    canvas.tint(EVERYWHERE, inside(distance, canvas.grid, canvas.edge_mm, through_plane=False) * amount, value)


def _paint_wall(canvas: Canvas, trunk: Trunk, patient: Patient) -> None:
    """Muscle with fat between the layers of the flank, between the gluteal muscles and around the erectors."""
    grid, edge = canvas.grid, canvas.edge_mm
    voxels = np.flatnonzero((trunk.outline < edge) & (trunk.cavity > -edge))

    fields = (grid.x, grid.y, grid.z, trunk.outline, trunk.cavity, grid.lumps[0], canvas.grain)
    x, y, z, outline, cavity, bump, grain = (field.ravel()[voxels] for field in fields)
    wide = np.abs(x)
    depth = cavity - outline + 1e-3
    layer = -outline / depth
    lines = depth * np.minimum(np.abs(layer - 0.36), np.abs(layer - 0.68))
    flank = _ramp(z, -60, -25) * _ramp(z, 150, 100) * _ramp(wide, 60, 90) * _ramp(np.abs(y), 64, 24)
    gaps = flank * np.clip(1.15 - lines, 0, 1)
    planes = np.minimum(np.abs(outline + 31 + 7 * bump), np.abs(outline + 56 - 9 * bump))
    gaps = np.maximum(gaps, _ramp(z, 10, -20) * _ramp(y, -18, 12) * np.clip(1.2 - 0.55 * planes, 0, 1))
    sheath = np.abs(ellipse(wide - 33, y - 84, 31.0, 21.0) + 3 * bump)
    faded = 0.05 * np.maximum(np.abs(z - 70) - 85, 0)
    gaps = np.maximum(gaps, np.clip(1.3 - 0.9 * sheath - faded, 0, 0.8))
    hu = patient.tissue.muscle + (4 + 6 * patient.age) * grain - 150 * gaps
    canvas.paint_at(EVERYWHERE, voxels, np.clip(0.5 - outline / edge, 0, 1), hu)


def _ramp(values: F32, zero: float, one: float) -> F32:
    share: F32 = np.clip((values - zero) / (one - zero), 0, 1)
    return share


def paint_couch(canvas: Canvas, trunk: Trunk, patient: Patient) -> None:
    """Paint the scanner's couch: a thin curved shell below the back, in patient millimetres."""
    if patient.table == 0:
        return
    frame = canvas.grid.frame
    lowest = int(np.flatnonzero((trunk.skin < 0).any(axis=(0, 2)))[-1])
    half, bend, gap = ((150, 6.5e-4, 6), (215, 4.5e-4, 14), (235, 9.0e-4, 2))[patient.table - 1]
    across = (np.arange(canvas.grid.shape[2], dtype=np.float32) - frame.centre[0]) * frame.pixel_mm
    down = (np.arange(canvas.grid.shape[1], dtype=np.float32)[:, None] - lowest - 1) * frame.pixel_mm
    shell = np.maximum(np.abs(down - gap + bend * across**2) - 1.3, np.abs(across) - half)
    part = np.clip(0.5 - shell / frame.pixel_mm, 0, 1)
    canvas.tint(EVERYWHERE, np.where(trunk.skin < 1, np.float32(0), part), 330.0)
