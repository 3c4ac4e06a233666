"""Where the limbs begin: muscles and fat of the groin below, shoulder blade and armpit above."""

from __future__ import annotations

import numpy as np

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.patient import Patient
from train.phantom.shapes import Tubes, bar, ellipsoid, meet
from train.phantom.skeleton import paint_bone
from train.phantom.trunk import Trunk


def paint_groin(canvas: Canvas, patient: Patient) -> None:
    """Paint the fat of the groin and beside the rectum, and the thigh's muscles that start at the hip."""
    grid = canvas.grid
    low, high = (-170.0, -100.0, -230.0), (170.0, 110.0, -70.0)
    block = grid.block(low, high)
    if block is None:
        return
    x, y, z = grid.at(block)
    wide = np.abs(x)
    fat = ellipsoid(wide, y, z, (98, -66, -165), (50, 23, 60), turn=0.25) + grid.lumps[1][block] * np.float32(5)
    fossa = ellipsoid(wide, y, z, (27, 66, -158), (20, 26, 34)) + grid.lumps[0][block] * np.float32(4)
    cleft = ellipsoid(wide, y, z, (0, 108, -190), (7, 30, 60))
    canvas.paint(block, np.minimum(np.minimum(fat, fossa), cleft), FAT_HU)
    muscles = Tubes(grid, low, high)
    floor = bar(wide, y, (44, -2), (9, 68), 2.6) + grid.lumps[0][block] * np.float32(2)
    floor = np.maximum(floor, z + np.float32(118))
    canvas.paint(block, floor, patient.tissue.muscle)
    for side in (-1.0, 1.0):
        for path in (
            [(132, -34, -85, 8), (140, -44, -120, 12), (142, -44, -230, 13)],  # tensor of the fascia
            [(112, -46, -105, 7), (116, -58, -135, 12), (114, -58, -230, 16)],  # straight muscle of the thigh
            [(124, -48, -80, 5), (94, -74, -130, 7.5), (78, -72, -230, 9)],  # sartorius
            [(48, -38, -140, 10), (62, -34, -165, 15), (80, -28, -230, 16)],  # pectineus
            [(16, -40, -165, 9), (30, -46, -230, 16)],  # adductors
            [(58, 8, -98, 6), (54, 14, -125, 11), (50, 22, -170, 11)],  # obturator
        ):
            muscles.add([(side * px, py, pz, r) for px, py, pz, r in path])
    if muscles.block is not None:
        muscles.field += grid.lumps[0][block] * np.float32(3)
        canvas.paint_thin(block, muscles.field, np.float32(patient.tissue.muscle) + canvas.grain[block] * np.float32(5))


def paint_shoulder(canvas: Canvas, trunk: Trunk, patient: Patient) -> None:
    """Paint the plane between rib cage and shoulder girdle, the armpit's fat and the shoulder blade."""
    grid = canvas.grid
    block = grid.block((-190, -110, 262), (190, 115, 430))
    if block is None:
        return
    x, y, z = grid.at(block)
    wide = np.abs(x)
    cage = trunk.cavity[block] - np.float32(14)
    plane = np.abs(cage - np.float32(1.5) + grid.lumps[0][block] * np.float32(2.5)) - np.float32(1.6)
    plane = np.maximum(plane, np.maximum(np.float32(285) - z, np.float32(45) - wide) * np.float32(0.2))
    pit = ellipsoid(wide, y, z, (150, -26, 372), (27, 24, 58), turn=0.2) + grid.lumps[1][block] * np.float32(6)
    pit = meet(pit, np.float32(1) - cage, 4.0)
    pit = meet(pit, trunk.outline[block] + np.float32(3), 3.0)
    canvas.paint(block, np.minimum(plane, pit), FAT_HU, amount=0.75)
    blade = bar(wide, y, (92, 88), (138, 58), 2.2) + grid.lumps[0][block]
    blade = np.maximum(blade, np.float32(322) - z + np.float32(0.25) * (wide - np.float32(110)))
    canvas.paint(block, np.abs(blade - np.float32(9)) - np.float32(0.8), FAT_HU, amount=0.5)
    paint_bone(canvas, block, blade, patient, shell_mm=1.4, marrow=240)
