"""The chest: lungs with their vessels and bronchi, heart with its chambers, great vessels, gullet."""

from __future__ import annotations

import numpy as np

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.patient import Patient
from train.phantom.shapes import Tubes, ellipsoid, inside, join, meet
from train.phantom.trunk import Trunk
from train.phantom.vessels import grow_tree


def paint_chest(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint everything above the diaphragm; the great vessels come later, with the abdomen's."""
    _paint_lungs(canvas, trunk, rng)
    _paint_heart(canvas, patient, rng)


def _paint_lungs(canvas: Canvas, trunk: Trunk, rng: np.random.Generator) -> None:
    grid = canvas.grid
    block = grid.block((-150, -115, 98), (150, 115, 430))
    if block is None:
        return
    x, y, z = grid.at(block)
    # What lies between the lungs: spine and aorta behind, the heart's bed, the great vessels, narrow above and behind.
    spine = ellipsoid(x, y, np.zeros_like(z), (2, 50, 0), (27, 33, 100))
    front = np.interp(z, (100, 215, 300, 340), (-50, -28, -20, -22)).astype(np.float32)
    half = np.interp(z, (100, 200, 235, 280, 310, 360, 400), (44, 34, 27, 27, 30, 33, 38)).astype(np.float32)
    middle = np.sqrt((np.abs(x) / half) ** 2 + ((y - front) / np.float32(62)) ** 2) - np.float32(1)
    middle *= half
    keep = join(spine, middle, 14.0)
    lungs = np.maximum(trunk.cavity[block] + np.float32(2.5), -keep)
    lungs = np.maximum(lungs, np.float32(2.0) - trunk.below[block])
    lungs = meet(lungs, np.float32(104) - z, 4.0)
    # The muscle and pleura around the lungs show as a thin line against the fat below.
    canvas.paint(block, lungs - np.float32(2.2), 45.0, amount=0.6)
    air = np.float32(-830) + np.float32(0.7) * y + canvas.grain[block] * np.float32(20)
    canvas.paint(block, lungs, air)
    tubes = Tubes(grid, (-140, -105, 110), (140, 105, 430))
    for side in (-1.0, 1.0):
        root = (side * 24.0, -2.0, 285.0)
        for target in (
            (80, 35, 190),
            (85, -20, 215),
            (75, 20, 250),
            (70, -35, 270),
            (60, 25, 310),
            (55, -20, 340),
            (95, 5, 230),
        ):
            aim = np.array([side * target[0], target[1], target[2]]) + rng.normal(0, 9, 3)
            for path in grow_tree(rng, np.array(root), aim, radius=5.2, thinnest=1.4, spread=0.55, shrink=0.74):
                tubes.add(path)
    if tubes.block is not None:
        within = inside(lungs, grid, canvas.edge_mm)
        part = np.zeros_like(within)
        offset = tuple(slice(t.start - b.start, t.stop - b.start) for t, b in zip(tubes.block, block, strict=True))
        part[offset] = inside(tubes.field, grid, canvas.edge_mm, through_plane=False)
        canvas.blend(block, part * within, 70.0)


def _paint_heart(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    grid, tissue = canvas.grid, patient.tissue
    block = grid.block((-70, -105, 190), (110, 60, 335))
    if block is None:
        return
    x, y, z = grid.at(block)
    move = rng.normal(0, 3, 3)
    x, y, z = x - np.float32(move[0]), y - np.float32(move[1]), z - np.float32(move[2])
    z = z + np.float32(0.18) * x
    lump = grid.lumps[1][block]
    whole = join(
        ellipsoid(x, y, z, (34, -36, 254), (55, 38, 44), turn=-0.5),
        ellipsoid(x, y, z, (-12, -22, 266), (34, 40, 44), turn=0.2),
        22.0,
    ) + lump * np.float32(3)
    whole = np.maximum(whole, np.float32(209) + np.float32(0.05) * y - z)
    canvas.paint(block, whole - np.float32(6), FAT_HU)
    canvas.paint(block, np.abs(whole - np.float32(6)) - np.float32(0.7), 40.0, amount=0.7)
    wall = 108.0 if tissue.phase != "unenhanced" else 45.0
    canvas.paint(block, whole, np.float32(wall) + canvas.grain[block] * np.float32(3))
    left = ellipsoid(x, y, z, (45, -26, 254), (37, 17, 31), turn=-0.6) + lump * np.float32(2) + canvas.grain[block]
    right = ellipsoid(x, y, z, (20, -55, 250), (40, 19, 34), turn=-0.5) + lump * np.float32(3) + canvas.grain[block]
    right = meet(right, whole + np.float32(3.5), 4.0)
    right_atrium = ellipsoid(x, y, z, (-26, -26, 266), (20, 27, 32))
    left_atrium = ellipsoid(x, y, z, (6, 4, 284), (31, 17, 21))
    canvas.paint(block, right, (tissue.vein + tissue.artery) / 2, edge_mm=4.0)
    canvas.paint(block, right_atrium, tissue.vein, edge_mm=5.0)
    canvas.paint(block, left, tissue.artery, edge_mm=4.0)
    canvas.paint(block, left_atrium, tissue.artery, edge_mm=4.0)
