"""The container: skin, fat, muscle wall, the cavities of abdomen and chest, the diaphragm, and the couch below.

`Trunk` holds signed distances (mm, negative inside) that the organs are fitted into: the liver leans on the wall and
on the diaphragm because it is cut by them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.grid import F32, Grid
from train.phantom.patient import Patient
from train.phantom.shapes import FAR, ellipsoid, inside, join

# Half-width, front and back (mm) of the muscular outline at heights z (mm).
_OUTLINE = np.array(
    [
        (-200, 166, -74, 104), (-165, 166, -78, 108), (-120, 164, -86, 110), (-80, 156, -88, 108), (-40, 144, -88, 104),
        (0, 131, -89, 100), (40, 126, -91, 100), (80, 131, -94, 101), (120, 139, -99, 103), (160, 146, -104, 105),
        (210, 149, -107, 105), (260, 147, -107, 105), (300, 149, -106, 106), (340, 160, -104, 106),
        (380, 172, -98, 104),
    ],
    np.float64,
)  # fmt: skip
# The same for the cavity inside the wall: peritoneum and retroperitoneum; above z = 100 the rib cage's inside.
_CAVITY = np.array(
    [
        (-200, 40, -50, 55), (-165, 50, -58, 66), (-130, 58, -68, 72), (-90, 82, -76, 70), (-50, 101, -78, 60),
        (-10, 108, -79, 60), (40, 109, -81, 64), (80, 118, -84, 71), (120, 128, -88, 78), (160, 134, -92, 82),
        (210, 136, -95, 83), (260, 134, -95, 83), (300, 129, -93, 82), (340, 120, -88, 80), (380, 100, -76, 76),
    ],
    np.float64,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Signed distances over the whole volume, float32 [Z, 256, 256], mm: skin, muscular outline, cavity, diaphragm.

    below: negative under the diaphragm (abdomen), positive above it (chest).
    """

    skin: F32
    outline: F32
    cavity: F32
    below: F32


def build_trunk(grid: Grid, patient: Patient) -> Trunk:
    """Compute the container of one patient."""
    x, y, level = grid.x, grid.y, grid.frame.z_mm
    radius = x * x
    radius += y * y
    np.sqrt(radius, out=radius)
    radius += np.float32(1e-3)
    belly = (1 + (patient.belly - 1) * np.exp(-(((level - 40) / 110) ** 2))).astype(np.float32)
    outline = _rounded(x, y, radius, _rows(_OUTLINE, level, belly), 1.25)
    groove = np.exp(-((grid.columns / 11.0) ** 2)).astype(np.float32)
    outline += np.where(y > 0, np.float32(5.5), np.float32(1.5)) * groove
    outline += grid.lumps[0] * np.float32(2.0)
    cavity = _rounded(x, y, radius, _rows(_CAVITY, level, belly), 1.35)
    cavity += grid.lumps[1] * np.float32(2.0)
    cavity += _straight_muscles(grid)
    return Trunk(
        skin=outline - _fat(grid, patient, radius),
        outline=outline,
        cavity=cavity,
        below=_diaphragm(grid),
    )


def _straight_muscles(grid: Grid) -> F32:
    """Millimetres by which the front wall is thicker: two straight muscles, thin seams beside and between them."""
    level = np.interp(grid.frame.z_mm, (-140, -90, 120, 170), (0.3, 1, 1, 0)).astype(np.float32)[:, None, None]
    ahead = np.clip(-grid.rows / 20 - 1.5, 0, 1).astype(np.float32)[None, :, None]
    wide = np.abs(grid.columns)
    across = (
        4.0 * np.exp(-(((wide - 31) / 17) ** 2))
        - 4.5 * np.exp(-(((wide - 66) / 9) ** 2))
        - 4.0 * np.exp(-((wide / 5) ** 2))
    )
    return np.asarray(level * ahead * across.astype(np.float32)[None, None, :], np.float32)


def _rows(table: npt.NDArray[np.float64], level: F32, belly: F32) -> tuple[F32, F32, F32]:
    columns = [np.interp(level, table[:, 0], table[:, k]).astype(np.float32) for k in (1, 2, 3)]
    width, front, back = columns
    return width * (1 + np.float32(0.35) * (belly - 1)), front * belly, back


def _rounded(x: F32, y: F32, radius: F32, rows: tuple[F32, F32, F32], fullness: float) -> F32:
    """Radial distance to u² + v² + fullness·u·v = 1, u and v squared relative coordinates: 2 is an ellipse, 0 a box."""
    width, front, back = (r[:, None, None] for r in rows)
    u = x * (1 / width)
    u *= u
    v = np.where(y < 0, y * (1 / front), y * (1 / back))
    v *= v
    rho = u * v
    rho *= np.float32(fullness)
    u *= u
    v *= v
    rho += u
    rho += v
    np.sqrt(rho, out=rho)
    np.sqrt(rho, out=rho)
    rho += np.float32(1e-6)
    np.divide(radius, rho, out=rho)
    return np.subtract(radius, rho, out=rho)


def _fat(grid: Grid, patient: Patient, radius: F32) -> F32:
    """Thickness of the subcutaneous fat in mm: thicker behind the hips and in front of the belly, thin on the chest."""
    level = grid.frame.z_mm
    at = (-170, -90, -20, 40, 110, 180, 260, 340)
    relative = (
        (1.5, 1.3, 1.25, 1.1, 0.75, 0.6, 0.6, 0.7),
        (1.3, 1.5, 1.5, 1.35, 1.0, 0.7, 0.65, 0.6),
        (1.7, 1.7, 1.5, 1.1, 0.7, 0.55, 0.55, 0.7),
    )
    side, front, back = (
        np.asarray(np.interp(level, at, share) * patient.fat_mm, np.float32)[:, None, None] for share in relative
    )
    upright = grid.y / radius
    upright *= np.abs(upright)
    thick: F32 = side + np.where(upright < 0, front - side, back - side) * np.abs(upright)
    thick *= np.float32(1) + np.float32(0.3) * grid.lumps[2]
    if patient.female:
        bust = np.exp(-(((level - 275) / 38) ** 2)).astype(np.float32)[:, None, None]
        ahead = np.clip(-grid.rows / 60 - 0.6, 0, 1)[None, :, None].astype(np.float32)
        pair = np.exp(-(((np.abs(grid.columns) - 72) / 36) ** 2)).astype(np.float32)[None, None, :]
        thick += bust * ahead * pair * np.float32(8 + 0.9 * patient.fat_mm)
    thick += np.float32(2.5)
    return thick


def _diaphragm(grid: Grid) -> F32:
    """Two domes and the central tendon as upright half-ellipsoids that go on as cylinders below z = 105."""
    block = grid.block((-150, -120, 100), (150, 120, 400))
    field = np.full(grid.shape, -FAR, np.float32)
    if block is not None:
        x, y, z = grid.at(block)
        z = np.maximum(z, np.float32(105))
        right = ellipsoid(x, y, z, (-70, -12, 105), (90, 97, 122), turn=-0.12)
        left = ellipsoid(x, y, z, (70, -6, 105), (86, 92, 110), turn=0.12)
        middle = ellipsoid(x, y, z, (0, -34, 105), (78, 76, 98))
        field[block] = join(join(right, left, 18.0), middle, 18.0)
    return field


def paint_coat(canvas: Canvas, trunk: Trunk) -> None:
    """Paint subcutaneous fat and skin."""
    wisps = canvas.grain * np.float32(5)
    wisps += FAT_HU
    _tint(canvas, trunk.skin, wisps, 1.0)
    rind = np.abs(trunk.skin + np.float32(1.3))
    rind -= np.float32(1.3)
    _tint(canvas, rind, 55.0, 1.0)


def paint_cavities(canvas: Canvas, trunk: Trunk, patient: Patient) -> None:
    """Paint the fat that fills the cavities, with strands in it, and their lining; organs come on top."""
    strands = np.clip(canvas.mottle * np.float32(0.7) + canvas.grain * np.float32(0.6) - np.float32(1.25), 0, 1.2)
    strands *= np.float32(85)
    strands += FAT_HU
    _tint(canvas, trunk.cavity, strands, 1.0)
    lining = np.abs(trunk.cavity)
    lining -= np.float32(0.5)
    _tint(canvas, lining, patient.tissue.muscle, 0.45)


def _tint(canvas: Canvas, distance: F32, value: F32 | float, amount: float) -> None:
    """Blend over the whole volume, without blur through the slice: these surfaces run along the body."""
    part = inside(distance, canvas.grid, canvas.edge_mm, through_plane=False)
    part *= np.float32(amount)
    canvas.hu += part * (np.asarray(value, np.float32) - canvas.hu)


def paint_couch(canvas: Canvas, trunk: Trunk, patient: Patient) -> None:
    """Paint the scanner's couch: a thin curved shell with foam below the back, in patient millimetres."""
    if patient.table == 0:
        return
    frame = canvas.grid.frame
    pixel = frame.pixel_mm
    lowest = np.flatnonzero((trunk.skin < 0).any(axis=(0, 2)))
    first = max(int(lowest[-1]) - round(60 / pixel), 0)  # the shell rises by up to 60 mm at its sides
    row = np.arange(first, canvas.grid.shape[1], dtype=np.float32)[:, None]
    column = np.arange(canvas.grid.shape[2], dtype=np.float32)[None, :]
    across = (column - frame.centre[0]) * pixel
    half = (150.0, 215.0, 235.0)[patient.table - 1]
    bend = (6.5e-4, 4.5e-4, 9.0e-4)[patient.table - 1]
    top = (lowest[-1] + 1 - row) * pixel + (6.0, 14.0, 2.0)[patient.table - 1] - bend * across**2
    shell = np.maximum(np.abs(top) - np.float32(1.3), np.abs(across) - half)
    shelf = (7.0, 30.0, 22.0)[patient.table - 1] - 0.55 * np.maximum(np.abs(across) - 0.55 * half, 0)
    under = np.maximum(np.abs(top + shelf) - np.float32(0.9), np.abs(across) - half)
    foam = np.maximum(np.maximum(top, -(top + shelf)), np.abs(across) - half)
    for distance, hu in ((foam, -900.0), (shell, 330.0), (under, 190.0)):
        part = np.clip(np.float32(0.5) - distance / np.float32(pixel), 0, 1).astype(np.float32)
        view = canvas.hu[:, first:]
        view += np.where(trunk.skin[:, first:] < 1, np.float32(0), part) * (np.float32(hu) - view)
