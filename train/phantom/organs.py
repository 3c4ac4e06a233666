"""Solid organs of the abdomen: liver with lobes and vessels, gall bladder, spleen, kidneys, pancreas, psoas.

The liver is two blended lobes cut by the wall, the diaphragm and an oblique underside; neighbours painted after it
press into it. Its portal and hepatic veins are part of it (label liver): bright branches that are not lesions.
"""

from __future__ import annotations

import numpy as np

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.grid import F32, Block
from train.phantom.patient import Patient
from train.phantom.shapes import Tubes, ellipsoid, inside, join, meet
from train.phantom.trunk import Trunk
from train.phantom.vessels import grow_tree

LIVER_LOW, LIVER_HIGH = (-160.0, -115.0, 30.0), (125.0, 100.0, 250.0)
"""The box in reference mm that holds the liver."""

# Branches of the liver's veins: start, end, radius at the start.
_PORTAL = (
    ((-36, -10, 161), (-100, -45, 175), 4.6),
    ((-36, -10, 161), (-112, 42, 150), 4.6),
    ((-50, -6, 163), (-95, 20, 200), 3.8),
    ((-50, -6, 160), (-95, -20, 110), 3.8),
    ((2, -40, 174), (45, -60, 186), 3.8),
    ((2, -40, 174), (-15, -75, 165), 3.0),
)
_HEPATIC = (
    ((-28, 6, 204), (-125, 28, 168), 5.0),
    ((-26, 2, 206), (-62, -68, 165), 4.6),
    ((-22, -2, 206), (35, -62, 186), 4.2),
    ((-30, 12, 196), (-85, 50, 130), 3.6),
)


def paint_psoas(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint psoas, quadratus lumborum and the crura of the diaphragm."""
    tubes = Tubes(canvas.grid, (-125, -60, -230), (125, 95, 215))
    bulk = 1.0 + 0.10 * rng.normal() - 0.12 * (patient.age - 0.5)
    tubes.add_pair([(25, 44, 135, 4), (32, 42, 95, 11 * bulk), (42, 40, 45, 16 * bulk), (51, 34, 0, 19 * bulk)])
    tubes.add_pair([(51, 34, 0, 19 * bulk), (64, 14, -50, 17 * bulk), (78, -22, -100, 16 * bulk), (96, -30, -165, 14)])
    tubes.add_pair([(52, 62, 125, 5), (64, 61, 70, 9 * bulk), (76, 62, 12, 10 * bulk)])
    tubes.add_pair([(14, 30, 205, 3), (18, 30, 165, 4.5), (19, 30, 120, 4.5), (16, 30, 80, 3)])
    canvas.paint_thin(tubes.block, tubes.field - 1.2, FAT_HU, amount=0.7)
    canvas.paint_thin(tubes.block, tubes.field, patient.tissue.muscle + canvas.grain[tubes.block] * 5)


def _fitted(body: F32, trunk: Trunk, block: Block) -> F32:
    """An organ cut by the diaphragm and the wall of the cavity."""
    return meet(meet(body, trunk.below[block] + 1.5, 3.0), trunk.cavity[block] + 1.6, 5.0)


def paint_liver(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the liver and note it in `canvas.liver`; then fissure, porta, and gall bladder, which are not liver."""
    grid = canvas.grid
    block = grid.block(LIVER_LOW, LIVER_HIGH)
    x, y, z = grid.at(block)
    grow = 1.0 + 0.06 * float(np.clip(rng.normal(), -2, 2))
    reach, low = rng.uniform(-18, 30), rng.uniform(-14, 12)
    right = ellipsoid(x, y, z, (-74, -4, 150), (86 * grow, 98 * grow, 98 * grow), tilt=0.10)
    left = ellipsoid(x, y, z, (8 + reach, -54, 182), (78, 36 * grow, 40 * grow), yaw=rng.normal(-0.1, 0.06), tilt=0.28)
    body = join(join(right, left, 26.0), ellipsoid(x, y, z, (-14, 4, 180), (20, 17, 28)), 12.0)
    body += grid.lumps[0][block] * 4 + grid.lumps[2][block] * 5
    body = meet(body, (_underside(x, y, low) + grid.lumps[1][block] * 9 - z) * 0.84, 14.0)
    spine = ellipsoid(x, y, np.zeros_like(z), (4, 46, 0), (34, 30, 100))
    body = _fitted(meet(body, -spine, 12.0), trunk, block)
    canvas.paint(block, body - 2.2, FAT_HU, amount=0.9)
    mottled = 4.0 if patient.phase == "fatty" else 1.5
    hu = patient.tissue.liver + canvas.grain[block] * 3.5 + canvas.mottle[block] * mottled
    canvas.liver[block] = canvas.paint(block, body, hu)
    _paint_fissures(canvas, rng)
    _paint_gall_bladder(canvas, patient, rng, low)
    _paint_liver_vessels(canvas, patient, rng)


def _underside(x: F32, y: F32, low: float) -> F32:
    """Height in mm of the liver's oblique underside: low at the right flank, high at the left and behind."""
    bent = x + 70
    height: F32 = (58 + low) + 0.58 * (x + 138) + 0.20 * y - 0.0016 * bent * bent
    return height


def _paint_fissures(canvas: Canvas, rng: np.random.Generator) -> None:
    """The cleft of the round ligament and the fat around the porta: fat, not liver."""
    grid = canvas.grid
    block = grid.block((-60, -100, 90), (60, 30, 205))
    x, y, z = grid.at(block)
    at, lean, deep = rng.uniform(2, 14), rng.uniform(0.1, 0.5), rng.uniform(160, 178)
    cleft = np.abs(x - at - lean * (y + 45) + 5 * grid.lumps[0][block])
    cleft += 0.05 * (z - deep) + 0.05 * np.abs(y + 38)
    cleft = np.maximum(cleft - 2.4, np.maximum(y + 22, -66 - y))
    canvas.blend(block, inside(cleft, grid, canvas.edge_mm) * canvas.liver[block], FAT_HU)
    hilum = Tubes(grid, (-70, -60, 100), (30, 40, 200))
    hilum.add([(-2, -12, 130, 10), (-22, -12, 150, 9), (-36, -10, 161, 6.5), (-58, -4, 166, 4)])
    hilum.add([(-30, -12, 158, 6), (-6, -30, 170, 5), (6, -42, 174, 3)])
    hilum.add([(-22, -2, 150, 4), (2, -6, 178, 3), (10, -20, 186, 3)])
    canvas.paint_thin(hilum.block, hilum.field, FAT_HU + 20, amount=0.9)


def _paint_gall_bladder(canvas: Canvas, patient: Patient, rng: np.random.Generator, low: float) -> None:
    """The gall bladder hangs from the liver's underside, half sunk into it."""
    if rng.random() < 0.12:
        return
    block = canvas.grid.block((-100, -110, 60), (0, 0, 175))
    x, y, z = canvas.grid.at(block)
    size = rng.uniform(0.8, 1.25)
    at = (-48 + rng.normal(0, 4), -44 + rng.normal(0, 4), 118 + rng.normal(0, 5))
    bag = ellipsoid(x, y, z, at, (13 * size, 18 * size, 30 * size), yaw=0.5, tilt=-0.3)
    bag = meet(bag + canvas.grid.lumps[0][block] * 2, z - _underside(x, y, low) - 16, 6.0)
    canvas.paint(block, bag - 3.0, FAT_HU, amount=0.7)
    canvas.paint(block, bag - 1.2, patient.tissue.bowel_wall - 15)
    canvas.paint(block, bag, rng.uniform(4, 18))


def _paint_liver_vessels(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Portal and hepatic veins: two trees that interlock. They change HU, not the label."""
    portal, hepatic = (Tubes(canvas.grid, LIVER_LOW, LIVER_HIGH) for _ in range(2))
    portal.add([(-6, -10, 132, 6.3), (-22, -12, 150, 6), (-36, -10, 161, 5.6), (-50, -6, 163, 4.6)])
    portal.add([(-30, -11, 157, 5), (-12, -24, 168, 4.6), (2, -40, 174, 4)])
    for tubes, branches in ((portal, _PORTAL), (hepatic, _HEPATIC)):
        for start, aim, radius in branches:
            for path in grow_tree(rng, np.array(start), aim + rng.normal(0, 8, 3), radius=radius, thinnest=1.0):
                tubes.add(path)
    # The trunk outside the liver stands in the porta's fat: that and the label stay as they are.
    outside = 4 - 8 * canvas.liver[portal.block]
    for tubes, hu in ((hepatic, patient.tissue.vein), (portal, patient.tissue.portal)):
        canvas.paint_thin(tubes.block, np.maximum(tubes.field, outside), hu, take_liver=False)


def paint_spleen(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the spleen: a crescent between stomach, kidney and ribs."""
    block = canvas.grid.block((25, -60, 90), (150, 100, 245))
    x, y, z = canvas.grid.at(block)
    grow = 1.0 + 0.12 * float(np.clip(rng.normal(), -2, 2))
    cx, cy, cz = 104 + rng.normal(0, 3), 34 + rng.normal(0, 4), 172 + rng.normal(0, 6)
    body = ellipsoid(x, y, z, (cx, cy, cz), (46 * grow, 64 * grow, 58 * grow), yaw=-0.55, tilt=0.12)
    hollow = ellipsoid(x, y, z, (cx - 44, cy - 34, cz - 4), (32, 36, 70), yaw=-0.5)
    body = _fitted(meet(body + canvas.grid.lumps[1][block] * 5, -hollow, 10.0), trunk, block)
    canvas.paint(block, body - 2.0, FAT_HU, amount=0.85)
    mottled = 14.0 if patient.phase == "arterial" else 1.5
    canvas.paint(block, body, patient.tissue.spleen + canvas.grain[block] * 3 + canvas.mottle[block] * mottled)


def paint_kidneys(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint kidneys with cortex, pyramids, and the fat of the sinus around the pelvis."""
    grid, tissue = canvas.grid, patient.tissue
    for side, level in ((-1.0, 96 + rng.normal(0, 6)), (1.0, 108 + rng.normal(0, 6))):
        block = grid.block((min(side * 15, side * 115), -15, level - 75), (max(side * 15, side * 115), 100, level + 75))
        x, y, z = grid.at(block)
        x = x * side
        grow = 1.0 + 0.07 * float(np.clip(rng.normal(), -2, 2))
        cx, cy = 64 + rng.normal(0, 3), 40 + rng.normal(0, 3)
        body = ellipsoid(x, y, z, (cx, cy, level), (27 * grow, 31 * grow, 55 * grow), yaw=-0.45, tilt=0.16)
        body = meet(body + grid.lumps[0][block] * 3.5, trunk.cavity[block] + 4, 4.0)
        bed = join(body - 4.5, ellipsoid(x, y, z, (40, 58, level - 4), (40, 31, 74)), 12.0)
        canvas.paint(block, meet(bed, trunk.cavity[block] + 1, 3.0), FAT_HU)
        pyramids = np.clip(0.5 + canvas.mottle[block] * 0.9, 0, 1) * np.clip((-body - 5.5) / 2, 0, 1)
        hu = tissue.cortex + pyramids * (tissue.medulla - tissue.cortex)
        canvas.paint(block, body, hu + canvas.grain[block] * 4)
        sinus = ellipsoid(x, y, z, (cx - 17, cy - 9, level), (17, 12, 26), yaw=-0.45) + canvas.mottle[block] * 1.6
        canvas.paint(block, sinus, FAT_HU + 25 + canvas.grain[block] * 25, amount=0.95)
        pelvis = ellipsoid(x, y, z, (cx - 15, cy - 8, level - 4), (10, 4.5, 12), yaw=-0.45)
        canvas.paint(block, pelvis, 12.0 if patient.phase == "arterial" else tissue.vein, amount=0.9)


def paint_pancreas(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the pancreas: a lobulated band from the duodenum to the spleen's hilum, fattier with age."""
    tubes = Tubes(canvas.grid, (-60, -70, 70), (110, 60, 185))
    lift = rng.normal(0, 4)
    tubes.add([(-34, -16, 96 + lift, 10), (-28, -20, 112 + lift, 12), (-8, -32, 124 + lift, 8.5)])
    tubes.add([(-8, -32, 124 + lift, 8.5), (18, -26, 134 + lift, 8.5), (46, -6, 146 + lift, 8.5), (76, 20, 156, 8)])
    grain = canvas.grain[tubes.block]
    canvas.paint_thin(tubes.block, tubes.field + grain * (1.2 + 1.6 * patient.age), patient.tissue.pancreas + grain * 8)
