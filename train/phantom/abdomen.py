"""Solid organs of the abdomen: liver with lobes and vessels, gall bladder, spleen, kidneys, adrenals, pancreas, psoas.

The liver is two blended lobes cut by the wall, the diaphragm and an oblique underside; neighbours painted after it
press into it. Its portal and hepatic veins are part of it (label liver): bright branches that are not lesions.
"""

from __future__ import annotations

import numpy as np

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.grid import F32
from train.phantom.patient import Patient
from train.phantom.shapes import Tubes, ellipsoid, inside, join, meet
from train.phantom.skeleton import spine_y
from train.phantom.trunk import Trunk
from train.phantom.vessels import grow_tree

LIVER_LOW, LIVER_HIGH = (-160.0, -115.0, 30.0), (125.0, 100.0, 250.0)
"""The box in reference mm that holds the liver."""


def paint_psoas(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint psoas, quadratus lumborum and the crura of the diaphragm."""
    box = ((-125.0, -60.0, -230.0), (125.0, 95.0, 215.0))
    tubes, loin = Tubes(canvas.grid, *box), Tubes(canvas.grid, *box)
    bulk = 1.0 + 0.10 * rng.normal() - 0.12 * (patient.age - 0.5)
    for side in (-1.0, 1.0):
        tubes.add([(side * 25, 44, 135, 4), (side * 32, 42, 95, 11 * bulk), (side * 42, 40, 45, 16 * bulk),
                   (side * 51, 34, 0, 19 * bulk), (side * 64, 14, -50, 17 * bulk), (side * 78, -22, -100, 16 * bulk),
                   (side * 88, -40, -135, 15), (side * 96, -30, -165, 14)])  # fmt: skip
        loin.add([(side * 52, 62, 125, 5), (side * 64, 61, 70, 9 * bulk), (side * 76, 62, 12, 10 * bulk)])
        tubes.add(
            [(side * 14, 30, 205, 3), (side * 18, 30, 165, 4.5), (side * 19, 30, 120, 4.5), (side * 16, 30, 80, 3)]
        )
    if tubes.block is not None:
        tubes.field += canvas.grid.lumps[0][tubes.block] * np.float32(4)
        muscle = np.float32(patient.tissue.muscle) + canvas.grain[tubes.block] * np.float32(5)
        canvas.paint_thin(tubes.block, loin.field, muscle)
        canvas.paint_thin(tubes.block, tubes.field - np.float32(1.2), FAT_HU, amount=0.7)
        canvas.paint_thin(tubes.block, tubes.field, muscle)


def paint_liver(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the liver and note it in `canvas.liver`; then fissure, porta, and gall bladder, which are not liver."""
    grid, tissue = canvas.grid, patient.tissue
    block = grid.block(LIVER_LOW, LIVER_HIGH)
    if block is None:
        return
    x, y, z = grid.at(block)
    grow = 1.0 + 0.06 * np.clip(rng.normal(), -2, 2)
    reach = rng.uniform(-18, 30)
    lean = rng.normal(0, 0.06)
    right = ellipsoid(x, y, z, (-74, -4, 150), (86 * grow, 98 * grow, 98 * grow), tilt=0.10)
    left = ellipsoid(x, y, z, (8 + reach, -54, 182), (78, 36 * grow, 40 * grow), turn=-0.10 + lean, tilt=0.28)
    caudate = ellipsoid(x, y, z, (-14, 4, 180), (20, 17, 28))
    body = join(join(right, left, 26.0), caudate, 12.0)
    body += grid.lumps[0][block] * np.float32(4) + grid.lumps[2][block] * np.float32(5)
    low = rng.uniform(-14, 12)
    under = _underside(x, y, low) + grid.lumps[1][block] * np.float32(9)
    body = meet(body, (under - z) * np.float32(0.84), 14.0)
    spine = ellipsoid(x, y, np.zeros_like(z), (4, 46, 0), (34, 30, 100))
    body = meet(body, -spine, 12.0)
    body = meet(body, trunk.below[block] + np.float32(1.5), 3.0)
    body = meet(body, trunk.cavity[block] + np.float32(1.6), 5.0)
    canvas.paint(block, body - np.float32(2.2), FAT_HU, amount=0.9)
    texture = canvas.grain[block] * np.float32(3.5) + canvas.mottle[block] * np.float32(
        1.5 if tissue.phase != "fatty" else 4
    )
    part = canvas.paint(block, body, np.float32(tissue.liver) + texture)
    canvas.liver[block] = part
    _paint_fissures(canvas, patient, rng)
    _paint_gall_bladder(canvas, patient, rng, low)
    _paint_liver_vessels(canvas, patient, rng)


def _underside(x: F32, y: F32, low: float) -> F32:
    """Height in mm of the liver's oblique underside: low at the right flank, high at the left and behind."""
    bent = x + np.float32(70)
    return (
        np.float32(58 + low)
        + np.float32(0.58) * (x + np.float32(138))
        + np.float32(0.20) * y
        - np.float32(0.0016) * bent * bent
    )


def _paint_fissures(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """The cleft of the round ligament and the fat around the porta: fat, not liver."""
    grid = canvas.grid
    block = grid.block((-60, -100, 90), (60, 30, 205))
    if block is None:
        return
    x, y, z = grid.at(block)
    at = np.float32(rng.uniform(2, 14))
    deep = np.float32(rng.uniform(160, 178))
    lean = np.float32(rng.uniform(0.1, 0.5))
    cleft = np.abs(x - at - lean * (y + np.float32(45)) + np.float32(5) * grid.lumps[0][block])
    cleft += np.float32(0.05) * (z - deep) + np.float32(0.05) * np.abs(y + np.float32(38))
    cleft = np.maximum(cleft - np.float32(2.4), np.maximum(y + np.float32(22), np.float32(-66) - y))
    part = inside(cleft, grid, canvas.edge_mm) * canvas.liver[block]
    canvas.blend(block, part, FAT_HU)
    hilum = Tubes(grid, (-70, -60, 100), (30, 40, 200))
    hilum.add([(-2, -12, 130, 10), (-22, -12, 150, 9), (-36, -10, 161, 6.5), (-58, -4, 166, 4)])
    hilum.add([(-30, -12, 158, 6), (-6, -30, 170, 5), (6, -42, 174, 3)])
    hilum.add([(-22, -2, 150, 4), (2, -6, 178, 3), (10, -20, 186, 3)])
    if hilum.block is not None:
        canvas.paint_thin(hilum.block, hilum.field, FAT_HU + 20, amount=0.9)


def _paint_gall_bladder(canvas: Canvas, patient: Patient, rng: np.random.Generator, low: float) -> None:
    """The gall bladder hangs from the liver's underside, half sunk into it."""
    if rng.random() < 0.12:
        return
    grid = canvas.grid
    block = grid.block((-100, -110, 60), (0, 0, 175))
    if block is None:
        return
    x, y, z = grid.at(block)
    size = rng.uniform(0.8, 1.25)
    at = (-48 + rng.normal(0, 4), -44 + rng.normal(0, 4), 118 + rng.normal(0, 5))
    bag = ellipsoid(x, y, z, at, (13 * size, 18 * size, 30 * size), turn=0.5, tilt=-0.3)
    bag += grid.lumps[0][block] * np.float32(2)
    bag = meet(bag, z - _underside(x, y, low) - np.float32(16), 6.0)
    canvas.paint(block, bag - np.float32(3.0), FAT_HU, amount=0.7)
    canvas.paint(block, bag - np.float32(1.2), patient.tissue.bowel_wall - 15)
    canvas.paint(block, bag, rng.uniform(4, 18))


def _paint_liver_vessels(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Portal and hepatic veins: two trees that interlock. They change HU, not the label."""
    tissue = patient.tissue
    roots = (
        # portal: right anterior, right posterior, left; then hepatic: right, middle, left
        (True, (-36, -10, 161), (-100, -45, 175), 4.6),
        (True, (-36, -10, 161), (-112, 42, 150), 4.6),
        (True, (-50, -6, 163), (-95, 20, 200), 3.8),
        (True, (-50, -6, 160), (-95, -20, 110), 3.8),
        (True, (2, -40, 174), (45, -60, 186), 3.8),
        (True, (2, -40, 174), (-15, -75, 165), 3.0),
        (False, (-28, 6, 204), (-125, 28, 168), 5.0),
        (False, (-26, 2, 206), (-62, -68, 165), 4.6),
        (False, (-22, -2, 206), (35, -62, 186), 4.2),
        (False, (-30, 12, 196), (-85, 50, 130), 3.6),
    )
    portal, hepatic = (Tubes(canvas.grid, LIVER_LOW, LIVER_HIGH) for _ in range(2))
    portal.add([(-6, -10, 132, 6.3), (-22, -12, 150, 6), (-36, -10, 161, 5.6), (-50, -6, 163, 4.6)])
    portal.add([(-30, -11, 157, 5), (-12, -24, 168, 4.6), (2, -40, 174, 4)])
    for is_portal, start, aim, radius in roots:
        target = np.array(aim, np.float64) + rng.normal(0, 8, 3)
        for path in grow_tree(rng, np.array(start, np.float64), target, radius=radius, thinnest=1.0, spread=0.55):
            (portal if is_portal else hepatic).add(path)
    if portal.block is None:
        return
    for tubes, hu in ((hepatic, tissue.vein), (portal, tissue.portal)):
        outside = np.float32(4) - np.float32(8) * canvas.liver[portal.block]
        canvas.paint_thin(portal.block, np.maximum(tubes.field, outside), hu, take_liver=False)
    # The trunk outside the liver stands in the porta's fat, so it was painted too; fat and label stay as they are.


def paint_spleen(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the spleen: a crescent between stomach, kidney and ribs."""
    grid = canvas.grid
    block = grid.block((25, -60, 90), (150, 100, 245))
    if block is None:
        return
    x, y, z = grid.at(block)
    grow = 1.0 + 0.12 * float(np.clip(rng.normal(), -2, 2))
    centre = (104 + rng.normal(0, 3), 34 + rng.normal(0, 4), 172 + rng.normal(0, 6))
    body = ellipsoid(x, y, z, centre, (46 * grow, 64 * grow, 58 * grow), turn=-0.55, tilt=0.12)
    hollow = ellipsoid(x, y, z, (centre[0] - 44, centre[1] - 34, centre[2] - 4), (32, 36, 70), turn=-0.5)
    body = meet(body + grid.lumps[1][block] * np.float32(5), -hollow, 10.0)
    body = meet(body, trunk.below[block] + np.float32(1.5), 3.0)
    body = meet(body, trunk.cavity[block] + np.float32(1.6), 5.0)
    canvas.paint(block, body - np.float32(2.0), FAT_HU, amount=0.85)
    mottled = 14.0 if patient.tissue.phase == "arterial" else 1.5
    texture = canvas.grain[block] * np.float32(3) + canvas.mottle[block] * np.float32(mottled)
    canvas.paint(block, body, np.float32(patient.tissue.spleen) + texture)


def paint_kidneys(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint kidneys with cortex, pyramids and the fat of the sinus, and the adrenals above them."""
    grid, tissue = canvas.grid, patient.tissue
    for side, level in ((-1.0, 96.0), (1.0, 108.0)):
        level += rng.normal(0, 6)
        block = grid.block((min(side * 15, side * 115), -15, level - 75), (max(side * 15, side * 115), 100, level + 75))
        if block is None:
            continue
        x, y, z = grid.at(block)
        grow = 1.0 + 0.07 * float(np.clip(rng.normal(), -2, 2))
        at = (side * (64 + rng.normal(0, 3)), 40 + rng.normal(0, 3), level)
        turn, tilt = side * -0.45, side * 0.16
        body = ellipsoid(x, y, z, at, (27 * grow, 31 * grow, 55 * grow), turn=turn, tilt=tilt)
        body += grid.lumps[0][block] * np.float32(3.5)
        sinus_at = (at[0] - side * 17, at[1] - 9, at[2])
        sinus = ellipsoid(x, y, z, sinus_at, (17, 12, 26), turn=turn) + canvas.mottle[block] * np.float32(1.6)
        body = meet(body, trunk.cavity[block] + np.float32(4), 4.0)
        bed = join(body - np.float32(4.5), ellipsoid(x, y, z, (side * 40, 58, level - 4), (40, 31, 74)), 12.0)
        canvas.paint(block, meet(bed, trunk.cavity[block] + np.float32(1), 3.0), FAT_HU)
        pyramids = np.clip(np.float32(0.5) + canvas.mottle[block] * np.float32(0.9), 0, 1)
        pyramids *= np.clip((-body - np.float32(5.5)) / np.float32(2), 0, 1)
        hu = np.float32(tissue.cortex) + pyramids * np.float32(tissue.medulla - tissue.cortex)
        canvas.paint(block, body, hu + canvas.grain[block] * np.float32(4))
        canvas.paint(block, sinus, FAT_HU + 25 + canvas.grain[block] * np.float32(25), amount=0.95)
        pelvis = ellipsoid(x, y, z, (at[0] - side * 15, at[1] - 8, at[2] - 4), (10, 4.5, 12), turn=turn)
        canvas.paint(block, pelvis, 12.0 if tissue.phase == "arterial" else tissue.vein, amount=0.9)
    glands = Tubes(grid, (-60, 0, 120), (60, 60, 190))
    for side in (-1.0, 1.0):
        spine = spine_y(150.0)
        glands.add([(side * 32, spine - 24, 165, 2.4), (side * 37, spine - 10, 152, 2.2), (side * 40, spine, 142, 1.8)])
        glands.add([(side * 32, spine - 24, 165, 2.4), (side * 29, spine - 10, 150, 2.0), (side * 29, spine, 142, 1.6)])
    if glands.block is not None:
        canvas.paint_thin(glands.block, glands.field, tissue.pancreas - 15)


def paint_pancreas(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the pancreas: a lobulated band from the duodenum to the spleen's hilum, fattier with age."""
    tubes = Tubes(canvas.grid, (-60, -70, 70), (110, 60, 185))
    lift = rng.normal(0, 4)
    course = (
        *((-34, -16, 96, 10), (-28, -20, 112, 12), (-8, -32, 124, 8.5)),
        *((18, -26, 134, 8.5), (46, -6, 146, 8.5), (76, 20, 156, 8)),
    )
    tubes.add([(x, y, z + lift, radius) for x, y, z, radius in course])
    if tubes.block is None:
        return
    lobes: F32 = tubes.field + canvas.grain[tubes.block] * np.float32(1.2 + 1.6 * patient.age)
    canvas.paint_thin(
        tubes.block, lobes, np.float32(patient.tissue.pancreas) + canvas.grain[tubes.block] * np.float32(8)
    )
