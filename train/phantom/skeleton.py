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
_CENTRES = np.array(
    [-86, -50, -15, 20, 54, 88, 121, 152, 181, 208, 233, 257, 280, 302, 323, 343, 362, 381, 400], np.float64
)
_INDEX = np.arange(-2, 17, dtype=np.float64)
# Height, y of the body's centre, its half-width and half-depth; below −30 it is the sacrum, ending in the coccyx.
_SPINE = np.array(
    [
        (-150, 84, 5, 4), (-125, 88, 12, 6), (-100, 83, 26, 8), (-75, 73, 42, 11), (-50, 60, 47, 15), (-33, 51, 33, 17),
        (-20, 46, 27, 18), (20, 40, 26, 18), (60, 39, 25, 18), (120, 43, 23, 17), (180, 48, 20, 16), (250, 52, 17, 15),
        (340, 50, 15, 13), (400, 46, 14, 12),
    ],
    np.float64,
)  # fmt: skip
_RIB_ENDS = np.array([0.70, 0.72, 0.74, 0.76, 0.78, 0.78, 0.78, 0.76, 0.72, 0.66, 0.50, 0.36]) * np.pi


def spine_y(level: float) -> float:
    """y in mm of the vertebral body's centre at height z in mm."""
    return float(np.interp(level, _SPINE[:, 0], _SPINE[:, 1]))


def paint_bone(canvas: Canvas, block: Block, distance: F32, patient: Patient, *, shell_mm: float, marrow: float) -> F32:
    """Paint a bone: cortical shell `shell_mm` thick around marrow of mean HU `marrow`; returns the fraction painted."""
    sparse = 1.0 - 0.45 * patient.age
    grain = canvas.grain[block]
    core = np.float32(marrow * sparse) + grain * np.float32(28 + 30 * patient.age)
    depth = np.clip((-distance - np.float32(shell_mm * 0.6)) / np.float32(shell_mm), 0, 1)
    return canvas.paint(block, distance, np.float32(620) + depth * (core - np.float32(620)))


def paint_spine(canvas: Canvas, patient: Patient) -> None:
    """Paint vertebrae, discs, arches and the canal with the dural sac."""
    grid = canvas.grid
    block = grid.block((-58, 18, -150), (58, 128, 420))
    if block is None:
        return
    x, y, z = grid.at(block)
    table = [np.interp(z, _SPINE[:, 0], _SPINE[:, k]).astype(np.float32) for k in (1, 2, 3)]
    y = y - table[0]
    order = np.interp(z, _CENTRES, _INDEX).astype(np.float32)
    order += np.float32(0.02) * y
    part = order - np.rint(order)
    waist = np.float32(0.9) + np.float32(0.4) * part * part
    body = ellipse(x, y, table[1] * waist, table[2] * waist) + grid.lumps[0][block]
    sacrum = z < np.float32(-31)
    disc = np.clip((np.abs(part) - np.float32(0.37)) * np.float32(40), 0, 1)
    disc[sacrum] = 0
    paint_bone(canvas, block, body, patient, shell_mm=1.5, marrow=215)
    soft = np.clip(np.float32(0.5) - body / np.float32(canvas.edge_mm), 0, 1) * disc
    canvas.blend(block, soft, 86.0)
    wide = np.abs(x)
    tall = np.float32(34)
    upper = (np.abs(part - np.float32(0.14)) - np.float32(0.2)) * tall
    pedicle = np.maximum(bar(wide, y, (14, 12), (18, 30), 4.6), upper)
    facet = bar(wide, y, (18, 31), (20, 36), 5.2)
    lamina = bar(wide, y, (16, 37), (2, 46), 3.4)
    lumbar = z < np.float32(140)
    tip = np.where(lumbar, bar(wide, y, (0, 46), (0, 54), 2.8), bar(wide, y, (0, 44), (0, 48), 2.6))
    spinous = np.maximum(tip, (np.abs(part + np.float32(0.12)) - np.float32(0.3)) * tall)
    side = np.where(lumbar, bar(wide, y, (20, 27), (43, 33), 2.7), bar(wide, y, (18, 30), (34, 41), 4.6))
    side = np.maximum(side, (np.abs(part - np.float32(0.05)) - np.float32(0.17)) * tall)
    arch = np.minimum(np.minimum(pedicle, facet), np.minimum(np.minimum(lamina, spinous), side))
    crest = np.minimum(bar(wide, y, (2, 26), (20, 16), 5.0), bar(wide, y, (0, 24), (0, 32), 3.0))
    arch = np.where(sacrum, np.maximum(crest, np.float32(-95) - z), arch)
    paint_bone(canvas, block, arch, patient, shell_mm=1.8, marrow=260)
    canal = ellipse(
        x, y - np.where(sacrum, np.float32(15), np.float32(27)), 10.5, np.where(sacrum, np.float32(5), np.float32(8.5))
    )
    canal = np.maximum(canal, np.float32(-90) - z)
    canvas.paint(block, canal, -40.0)
    canvas.paint(block, canal + np.float32(1.8), 32.0)
    foramen = ellipse(wide - np.float32(19), y + np.float32(1), 4.0, 4.5)
    foramen = np.maximum(np.maximum(foramen, (np.float32(0.3) - np.abs(part)) * tall), z + np.float32(36))
    canvas.paint(block, np.maximum(foramen, np.float32(-100) - z), 0.0)


def paint_ribs(canvas: Canvas, trunk: Trunk, patient: Patient) -> None:
    """Paint ribs, costal cartilage and breastbone in the shell just outside the chest's cavity."""
    grid = canvas.grid
    block = grid.block((-170, -130, 58), (170, 130, 420))
    if block is None:
        return
    deep = trunk.cavity[block] - np.float32(4.6)
    near = np.flatnonzero(np.abs(deep) < 9)
    x, y, z = (v.ravel()[near] for v in grid.at(block))
    deep_near = deep.ravel()[near]
    angle = np.arctan2(np.abs(x), y)
    way = np.clip(angle / np.float32(0.76 * np.pi), 0, 1)
    drop = np.float32(108) * way * way * (np.float32(3) - np.float32(2) * way)
    beyond = np.maximum(angle - np.float32(0.76 * np.pi), 0)
    drop -= np.float32(75) * beyond
    order = np.interp(z + drop, _CENTRES[5:] + 4.0, _INDEX[5:]).astype(np.float32)
    number = np.rint(order)
    height = (order - number) * np.float32(25)
    rib = np.clip(np.rint(17 - number), 1, 12).astype(np.intp)
    bone = np.sqrt((height / np.float32(5.2)) ** 2 + (deep_near / np.float32(4.2)) ** 2) - np.float32(1)
    bone *= np.float32(4.2)
    end = _RIB_ENDS[rib - 1].astype(np.float32)
    past = (angle - end) * np.float32(120)
    missing = (number < 5) | (z + drop > np.float32(402)) | (angle < 0.1)
    missing |= (rib >= 11) & (past > 0)
    missing |= (angle > 0.95 * np.pi) & (rib > 7)
    bone[missing] = 50
    shape = deep.shape
    full = np.full(deep.size, 50, np.float32)
    full[near] = np.where(past < 0, bone, np.float32(50))
    paint_bone(canvas, block, full.reshape(shape), patient, shell_mm=1.5, marrow=190)
    full[near] = np.where(past >= 0, bone - np.float32(1.2), np.float32(50))
    gristle = full.reshape(shape)
    rim = np.clip(gristle / np.float32(2.5) + np.float32(1), 0, 1)
    canvas.paint(block, gristle, np.float32(96) + np.float32(15 + 110 * patient.age**2) * rim + canvas.grain[block] * 6)
    x, _, z = grid.at(block)
    wide = np.interp(z, (186, 200, 225, 330, 350), (2, 8, 15, 17, 24)).astype(np.float32)
    plate = np.maximum(ellipse(x, deep, wide, 5.2), np.maximum(grid.y[block] + np.float32(40), np.float32(190) - z))
    paint_bone(canvas, block, plate, patient, shell_mm=1.3, marrow=150)


def paint_pelvis(canvas: Canvas, patient: Patient) -> None:
    """Paint hip bones, femoral heads, pubic and ischial branches, and the iliac and hip muscles beside them."""
    grid = canvas.grid
    block = grid.block((-175, -90, -230), (175, 100, 6))
    if block is None:
        return
    x, y, z = grid.at(block)
    wide = np.abs(x)
    # The wing: a slightly bowed oblique plate from the sacrum's side to the front of the hip.
    run = (np.float32(74) - y) / np.float32(110)
    bow = np.float32(42) + np.float32(74) * run + np.float32(10) * (run - run * run)
    bow += np.float32(4) * grid.lumps[2][block]
    bow += np.float32(0.16) * (z + np.float32(50))
    thick = np.float32(3.0) + np.float32(24) * (run - np.float32(0.48)) ** 2
    plate = np.abs(wide - bow) * np.float32(0.8) - thick
    front = np.interp(z, (-105, -70, -45, -20, -5, 5), (20, -34, -34, -12, 18, 34)).astype(np.float32)
    rear = np.interp(z, (-105, -90, -60, -25, -5, 5), (40, 66, 80, 78, 66, 46)).astype(np.float32)
    plate = meet(plate, np.maximum(front - y, y - rear) * np.float32(0.8), 9.0)
    plate = meet(plate, z - np.float32(3), 6.0)
    plate = np.maximum(plate, np.float32(-106) - z)
    head_at = (89.0, 6.0, -127.0)
    ball = ellipsoid(wide, y, z, head_at, (24, 24, 24))
    cup = np.maximum(
        ellipsoid(wide, y, z, (86, 8, -122), (34, 33, 34)), -ellipsoid(wide, y, z, head_at, (26.5, 26.5, 26.5))
    )
    cup = np.maximum(cup, (wide - np.float32(104)) + np.float32(0.5) * (z + np.float32(122)))
    hip = np.minimum(plate + grid.lumps[0][block], cup)
    tubes = Tubes(grid, (-175, -90, -230), (175, 100, 6))
    for side in (-1.0, 1.0):
        tubes.add([(side * 72, -14, -126, 10), (side * 40, -46, -142, 7), (side * 11, -52, -154, 9)])
        tubes.add(
            [(side * 78, 34, -120, 13), (side * 70, 46, -145, 13), (side * 62, 48, -172, 13), (side * 30, -5, -190, 8)]
        )
    hip = np.minimum(hip, tubes.field)
    tubes = Tubes(grid, (-190, -90, -230), (190, 100, -60))
    for side in (-1.0, 1.0):
        tubes.add([(side * 92, 6, -129, 17), (side * 118, 14, -146, 14), (side * 132, 20, -156, 17)])
        tubes.add([(side * 130, 20, -156, 17), (side * 127, 12, -230, 14)])
    iliacus = np.maximum(plate - np.float32(13), wide - bow)
    canvas.paint(
        block, np.maximum(iliacus, np.float32(-100) - z), np.float32(patient.tissue.muscle) + canvas.grain[block] * 5
    )
    paint_bone(canvas, block, hip, patient, shell_mm=2.2, marrow=200)
    if tubes.block is not None:
        paint_bone(canvas, tubes.block, tubes.field, patient, shell_mm=2.8, marrow=150)
    paint_bone(canvas, block, ball, patient, shell_mm=1.8, marrow=270)
