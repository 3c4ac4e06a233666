"""Bones: spine with discs, canal and processes; ribs as sloping arcs; costal cartilage, breastbone; pelvis and hips.

Bone is painted as a dense cortical shell around spongy marrow, whose HU falls with age. Heights of the vertebrae are
the skeleton's own table; everything is mirrored at the midline by |x|.
"""

from __future__ import annotations

import numpy as np

from train.phantom.canvas import Canvas
from train.phantom.grid import F32, Block
from train.phantom.patient import Patient
from train.phantom.shapes import Tubes, bar, ellipse, ellipsoid, meet
from train.phantom.trunk import Trunk

# Height in mm of the vertebral bodies' centres, from S2 (index −2) over L5 (0), L4 … T12 (5) … to T1 (16).
_CENTRES = (-86, -50, -15, 20, 54, 88, 121, 152, 181, 208, 233, 257, 280, 302, 323, 343, 362, 381, 400)
_INDEX = range(-2, 17)
# Heights, and there: y of the body's centre, its half-width and half-depth; below −30 the sacrum, ending in the coccyx.
_SPINE_LEVELS = (-150, -125, -100, -75, -50, -33, -20, 20, 60, 120, 180, 250, 340, 400)
_SPINE = (
    (84, 88, 83, 73, 60, 51, 46, 40, 39, 43, 48, 52, 50, 46),
    (5, 12, 26, 42, 47, 33, 27, 26, 25, 23, 20, 17, 15, 14),
    (4, 6, 8, 11, 15, 17, 18, 18, 18, 17, 16, 15, 13, 12),
)
_RIB_ENDS = np.array([0.70, 0.72, 0.74, 0.76, 0.78, 0.78, 0.78, 0.76, 0.72, 0.66, 0.50, 0.36], np.float32) * np.pi
"""Angle from the spine, in radians, at which ribs 1…12 go over into cartilage, or end."""


def _at(where: F32, levels: tuple[float, ...] | range, values: tuple[float, ...] | range) -> F32:
    return np.interp(where, levels, values).astype(np.float32)


def paint_bone(canvas: Canvas, block: Block, distance: F32, patient: Patient, *, shell_mm: float, marrow: float) -> F32:
    """Paint a bone: cortical shell `shell_mm` thick around marrow of mean HU `marrow`; returns the fraction painted."""
    core = marrow * (1.0 - 0.45 * patient.age) + canvas.grain[block] * (28 + 30 * patient.age)
    depth = np.clip(-distance / shell_mm - 0.6, 0, 1)
    return canvas.paint(block, distance, 620 + depth * (core - 620))


def paint_spine(canvas: Canvas, patient: Patient) -> None:
    """Paint vertebrae, discs, arches and the canal with the dural sac."""
    grid = canvas.grid
    block = grid.block((-58, 18, -150), (58, 128, 420))
    x, y, z = grid.at(block)
    middle, width, depth = (_at(z, _SPINE_LEVELS, column) for column in _SPINE)
    y = y - middle
    wide = np.abs(x)
    order = _at(z, _CENTRES, _INDEX) + 0.02 * y
    part = order - np.rint(order)  # −0.5…0.5 from disc to disc
    sacrum = z < -31
    waist = 0.9 + 0.4 * part * part
    body = ellipse(x, y, width * waist, depth * waist) + grid.lumps[0][block]
    paint_bone(canvas, block, body, patient, shell_mm=1.5, marrow=215)
    disc = np.clip((np.abs(part) - 0.37) * 40, 0, 1) * ~sacrum
    canvas.blend(block, np.clip(0.5 - body / canvas.edge_mm, 0, 1) * disc, 86.0)

    def within(centre: float, half: float) -> F32:
        """Distance in mm to the stretch of a vertebra's height, in its own units, that an arch's part takes."""
        off: F32 = np.abs(part - centre)
        return (off - half) * 34

    pedicle = np.maximum(bar(wide, y, (14, 12), (18, 30), 4.6), within(0.14, 0.2))
    lamina = np.minimum(bar(wide, y, (18, 30), (20, 36), 5.0), bar(wide, y, (16, 37), (2, 46), 3.4))
    spinous = np.maximum(bar(wide, y, (0, 45), (0, 51), 2.7), within(-0.12, 0.3))
    lumbar, chest = bar(wide, y, (20, 27), (43, 33), 2.7), bar(wide, y, (18, 30), (34, 41), 4.6)
    side = np.maximum(np.where(z < 140, lumbar, chest), within(0.05, 0.17))
    arch = np.minimum(np.minimum(pedicle, lamina), np.minimum(spinous, side))
    crest = np.maximum(bar(wide, y, (2, 22), (18, 15), 5.0), -95 - z)
    paint_bone(canvas, block, np.where(sacrum, crest, arch), patient, shell_mm=1.8, marrow=260)
    behind, deep = np.where(sacrum, np.float32(15), np.float32(27)), np.where(sacrum, np.float32(5), np.float32(8.5))
    canal: F32 = np.maximum(ellipse(x, y - behind, 10.5, deep), -90 - z)
    canvas.paint(block, canal, -40.0)
    canvas.paint(block, canal + 1.8, 32.0)


def paint_ribs(canvas: Canvas, trunk: Trunk, patient: Patient) -> None:
    """Paint ribs, costal cartilage and breastbone in the shell just outside the chest's cavity."""
    grid = canvas.grid
    block = grid.block((-170, -130, 58), (170, 130, 420))
    deep = trunk.cavity[block] - 4.6
    voxels = np.flatnonzero(np.abs(deep) < 9)
    x, y, z, deep_there = (field.ravel()[voxels] for field in (*grid.at(block), deep))
    angle = np.arctan2(np.abs(x), y)
    way = np.clip(angle / (0.76 * np.pi), 0, 1)
    # Ribs fall from the spine to the side, their cartilage rises again to the breastbone.
    slope = z + 108 * way * way * (3 - 2 * way) - 75 * np.maximum(angle - 0.76 * np.pi, 0)
    order = _at(slope, tuple(level + 4 for level in _CENTRES[5:]), _INDEX[5:])
    number = np.rint(order)
    rib = np.clip(17 - number, 1, 12).astype(np.intp)
    bone = (np.sqrt(((order - number) * (25 / 5.2)) ** 2 + (deep_there / 4.2) ** 2) - 1) * 4.2
    past = angle > _RIB_ENDS[rib - 1]
    missing = (number < 5) | (slope > 402) | (angle < 0.1) | (past & (rib >= 11)) | ((angle > 0.95 * np.pi) & (rib > 7))
    bone[missing] = 50
    ribs, gristle = np.full((2, deep.size), 50, np.float32)
    ribs[voxels[~past]] = bone[~past]
    gristle[voxels[past]] = bone[past] - 1.2
    ribs, gristle = ribs.reshape(deep.shape), gristle.reshape(deep.shape)
    paint_bone(canvas, block, ribs, patient, shell_mm=1.5, marrow=190)
    rim = np.clip(gristle / 2.5 + 1, 0, 1)
    canvas.paint_thin(block, gristle, 96 + (15 + 110 * patient.age**2) * rim + canvas.grain[block] * 6)
    x, y, z = grid.at(block)
    width = _at(z, (186, 200, 225, 330, 350), (2, 8, 15, 17, 24))
    plate = np.maximum(ellipse(x, deep, width, 5.2), np.maximum(y + 40, 190 - z))
    paint_bone(canvas, block, plate, patient, shell_mm=1.3, marrow=150)


def paint_pelvis(canvas: Canvas, patient: Patient) -> None:
    """Paint the hip bones with the muscle inside their wings, the heads of the hips, and the thigh bones."""
    grid = canvas.grid
    low, high = (-190.0, -90.0, -230.0), (190.0, 100.0, 6.0)
    block = grid.block(low, high)
    x, y, z = grid.at(block)
    wide = np.abs(x)
    # The wing: a slightly bowed oblique plate from the sacrum's side to the front of the hip.
    run = (74 - y) / 110
    bow = 42 + 84 * run - 10 * run * run + 4 * grid.lumps[2][block] + 0.16 * (z + 50)
    plate = np.abs(wide - bow) * 0.8 - (3 + 24 * (run - 0.48) ** 2)
    front = _at(z, (-105, -70, -45, -20, -5, 5), (20, -34, -34, -12, 18, 34))
    rear = _at(z, (-105, -90, -60, -25, -5, 5), (40, 66, 80, 78, 66, 46))
    plate = meet(plate, np.maximum(front - y, y - rear) * 0.8, 9.0)
    plate = np.maximum(meet(plate, z - 3, 6.0), -106 - z)
    iliacus = np.maximum(np.maximum(plate - 13, wide - bow), -100 - z)
    canvas.paint(block, iliacus, patient.tissue.muscle + canvas.grain[block] * 5)
    head = ellipsoid(wide, y, z, (89, 6, -127), (24, 24, 24))
    cup = np.maximum(ellipsoid(wide, y, z, (86, 8, -122), (34, 33, 34)), 2.5 - head)
    cup = np.maximum(cup, (wide - 104) + 0.5 * (z + 122))
    branches, thigh = Tubes(grid, low, high), Tubes(grid, low, high)
    branches.add_pair([(72, -14, -126, 10), (40, -46, -142, 7), (11, -52, -154, 9)])
    branches.add_pair([(78, 34, -120, 13), (70, 46, -145, 13), (62, 48, -172, 13), (30, -5, -190, 8)])
    thigh.add_pair([(92, 6, -129, 17), (118, 14, -146, 14), (132, 20, -156, 17), (127, 12, -230, 14)])
    hip = np.minimum(np.minimum(plate, cup), branches.field) + grid.lumps[0][block]
    paint_bone(canvas, block, hip, patient, shell_mm=2.2, marrow=200)
    paint_bone(canvas, block, thigh.field, patient, shell_mm=2.8, marrow=150)
    paint_bone(canvas, block, head, patient, shell_mm=1.8, marrow=270)
