"""The chest: lungs with their vessels, heart with its chambers, gullet, windpipe. `vessels` has the great vessels."""

from __future__ import annotations

import numpy as np

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.patient import Patient
from train.phantom.shapes import Tubes, ellipsoid, join, meet
from train.phantom.trunk import Trunk
from train.phantom.vessels import grow_tree

_LUNG_VESSELS = ((80, 35, 190), (85, -20, 215), (75, 20, 250), (70, -35, 270), (60, 25, 310), (95, 5, 230))
"""Where the vessels of the left lung go, in mm; mirrored in the right one."""


def paint_lungs(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    """Paint lungs and their vessels."""
    grid = canvas.grid
    low, high = (-150.0, -115.0, 98.0), (150.0, 115.0, 430.0)
    block = grid.block(low, high)
    x, y, z = grid.at(block)
    # What lies between the lungs: spine and aorta behind, the heart's bed, the great vessels, narrow above and behind.
    spine = ellipsoid(x, y, np.zeros_like(z), (2, 50, 0), (27, 33, 100))
    level = grid.frame.z_mm[block[0], None, None]
    front = np.interp(level, (100, 215, 300, 340), (-50, -28, -20, -22)).astype(np.float32)
    half = np.interp(level, (100, 200, 235, 280, 310, 360, 400), (44, 34, 27, 27, 30, 33, 38)).astype(np.float32)
    middle = (np.sqrt((x / half) ** 2 + ((y - front) / 62) ** 2) - 1) * half
    lungs = np.maximum(trunk.cavity[block] + 2.5, -join(spine, middle, 14.0))
    lungs = meet(np.maximum(lungs, 2.0 - trunk.below[block]), 104 - z, 4.0)
    # The muscle and pleura around the lungs show as a thin line against the fat below.
    canvas.paint(block, lungs - 2.2, 45.0, amount=0.6)
    canvas.paint(block, lungs, -830 + 0.7 * y + canvas.grain[block] * 20)
    tubes = Tubes(grid, low, high)
    for side in (-1.0, 1.0):
        for aim in _LUNG_VESSELS:
            end = np.array((side, 1.0, 1.0)) * (aim + rng.normal(0, 9, 3))
            for path in grow_tree(rng, np.array((side * 24.0, -2.0, 285.0)), end, radius=5.2, thinnest=1.4):
                tubes.add(path)
    canvas.paint_thin(block, np.maximum(tubes.field, lungs), 70.0)


def paint_heart(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the heart: muscle, chambers, the fat around it."""
    grid, tissue = canvas.grid, patient.tissue
    block = grid.block((-70, -105, 190), (110, 60, 335))
    x, y, z = (field - rng.normal(0, 3) for field in grid.at(block))
    z = z + 0.18 * x
    lump, grain = grid.lumps[1][block], canvas.grain[block]
    ventricles = ellipsoid(x, y, z, (34, -36, 254), (55, 38, 44), yaw=-0.5)
    whole = join(ventricles, ellipsoid(x, y, z, (-12, -22, 266), (34, 40, 44), yaw=0.2), 22.0) + lump * 3
    whole = np.maximum(whole, 209 + 0.05 * y - z)
    canvas.paint(block, whole - 6, FAT_HU)
    canvas.paint(block, np.abs(whole - 6) - 0.7, 40.0, amount=0.7)
    canvas.paint(block, whole, (108 if patient.phase != "unenhanced" else 45) + grain * 3)
    left = ellipsoid(x, y, z, (45, -26, 254), (37, 17, 31), yaw=-0.6) + lump * 2 + grain
    right = ellipsoid(x, y, z, (20, -55, 250), (40, 19, 34), yaw=-0.5) + lump * 3 + grain
    canvas.paint(block, meet(right, whole + 3.5, 4.0), (tissue.vein + tissue.artery) / 2, edge_mm=4.0)
    canvas.paint(block, ellipsoid(x, y, z, (-26, -26, 266), (20, 27, 32)), tissue.vein, edge_mm=5.0)
    canvas.paint(block, left, tissue.artery, edge_mm=4.0)
    canvas.paint(block, ellipsoid(x, y, z, (6, 4, 284), (31, 17, 21)), tissue.artery, edge_mm=4.0)


def paint_airways(canvas: Canvas) -> None:
    """Paint the gullet with a little air, windpipe and main bronchi."""
    gullet, windpipe = (Tubes(canvas.grid, (-60, -30, 185), (60, 60, 430)) for _ in range(2))
    gullet.add([(24, 6, 192, 7), (14, 14, 215, 8), (8, 20, 250, 7.5), (4, 26, 310, 7.5), (4, 30, 420, 7.5)])
    windpipe.add([(0, 10, 420, 9), (1, 8, 335, 9), (0, 8, 328, 8)])
    windpipe.add([(44, 16, 285, 4), (28, 12, 302, 6), (0, 8, 330, 7), (-24, 10, 305, 6.5), (-40, 14, 285, 4)])
    canvas.paint_thin(gullet.block, np.minimum(gullet.field, windpipe.field - 1.5), 60.0)
    canvas.paint_thin(gullet.block, gullet.field + 5.5, -150.0, amount=0.7)
    canvas.paint_thin(windpipe.block, windpipe.field, -980.0)
