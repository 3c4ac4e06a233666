"""The muscular wall between skin fat and cavity: layers of the flank, gluteal muscles, erectors, streaks of fat.

Only the wall's own voxels are visited, as flat arrays of float32 [voxels].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from train.phantom.canvas import Canvas
from train.phantom.grid import F32
from train.phantom.patient import Patient
from train.phantom.shapes import ellipse
from train.phantom.trunk import Trunk


def paint_wall(canvas: Canvas, trunk: Trunk, patient: Patient) -> None:
    """Paint the wall; the cavity's contents come later."""
    grid = canvas.grid
    edge = np.float32(canvas.edge_mm)
    near = np.flatnonzero((trunk.outline < edge) & (trunk.cavity > -edge))
    level, row, column = np.unravel_index(near, grid.shape)

    def take(field: F32) -> F32:
        taken: F32 = field.ravel()[near]
        return taken

    def along(at: npt.NDArray[np.intp], values: F32, knots: tuple[float, ...], heights: tuple[float, ...]) -> F32:
        """Piecewise linear weight over heights, rows or columns (mm), looked up for every voxel."""
        return np.interp(values, knots, heights).astype(np.float32)[at]

    x, y, z = take(grid.x), take(grid.y), take(grid.z)
    wide = np.abs(x)
    bump, wave = take(grid.lumps[0]), take(grid.lumps[1])
    outline = take(trunk.outline)
    grain, mottle = take(canvas.grain), take(canvas.mottle)
    columns = np.abs(grid.columns)

    # Three layers of the flank with thin fat between them.
    depth = take(trunk.cavity) - outline + np.float32(1e-3)
    layer = -outline / depth
    lines = depth * np.minimum(np.abs(layer - np.float32(0.36)), np.abs(layer - np.float32(0.68)))
    flank = along(level, grid.frame.z_mm, (-60, -25, 100, 150), (0, 1, 1, 0))
    flank *= along(column, columns, (60, 90), (0, 1))
    flank *= along(row, np.abs(grid.rows), (24, 64), (1, 0))
    gaps = flank * np.clip(np.float32(1.15) - lines, 0, 1)

    # Planes between the gluteal muscles, at two depths below the surface.
    behind = along(row, grid.rows, (-18, 12), (0, 1))
    hips = along(level, grid.frame.z_mm, (-20, 10), (1, 0)) * behind
    planes = np.abs(outline + np.float32(31) + np.float32(7) * bump)
    planes = np.minimum(planes, np.abs(outline + np.float32(56) + np.float32(9) * wave))
    gaps = np.maximum(gaps, hips * np.clip(np.float32(1.2) - np.float32(0.55) * planes, 0, 1))

    # The sheath of the erector muscles beside the lumbar spine.
    sheath = np.abs(ellipse(wide - np.float32(33), y - np.float32(84), 31.0, 21.0) + np.float32(3) * bump)
    faded = np.float32(0.05) * np.maximum(np.abs(z - np.float32(70)) - np.float32(85), 0)
    gaps = np.maximum(gaps, np.clip(np.float32(1.3) - np.float32(0.9) * sheath - faded, 0, 0.8))

    # Oblique streaks of fat within the muscles of hips and back, 11.5 mm apart, broken up.
    streaks = np.float32(0.75 / 11.5) * wide - np.float32(0.85 / 11.5) * y + np.float32(16 / 11.5) * wave
    streaks = np.clip(np.float32(1) - np.float32(6) * np.abs(streaks - np.rint(streaks)), 0, 1)
    streaks *= np.clip(mottle + np.float32(0.4), 0, 1) * behind
    streaks *= along(level, grid.frame.z_mm, (-20, 10, 200, 320), (1, 0.5, 0.5, 1))

    hu = np.float32(patient.tissue.muscle) + np.float32(4 + 6 * patient.age) * grain
    hu -= np.float32(150) * gaps + np.float32(50 + 60 * patient.age) * streaks
    part = np.clip(np.float32(0.5) - outline / edge, 0, 1)
    flat = canvas.hu.reshape(-1)
    old = flat[near]
    flat[near] = old + part * (hu - old)
