"""Blood vessels: branching trees and the named trunks, as tubes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.patient import Patient
from train.phantom.shapes import Path, Tubes, bead
from train.phantom.trunk import Trunk

Vector = npt.NDArray[np.float64]


def grow_tree(
    rng: np.random.Generator,
    start: Vector,
    aim: Vector,
    *,
    radius: float,
    thinnest: float,
    spread: float = 0.6,
    shrink: float = 0.72,
) -> list[Path]:
    """Tubes of a tree that leaves `start` towards `aim` and forks until it is thinner than `thinnest` (all mm).

    spread is the angle of a fork in radians, shrink the ratio of a branch's radius to its parent's.
    """
    paths: list[Path] = []
    way = aim - start
    reach = float(np.linalg.norm(way))
    branches = [(start, way / max(reach, 1e-6), radius, 0.55 * reach)]
    while branches:
        at, direction, r, length = branches.pop()
        bend = rng.normal(0, 0.12, 3)
        middle = at + length * 0.5 * direction + length * bend * 0.5
        end = middle + length * 0.5 * direction + length * rng.normal(0, 0.08, 3)
        thin = r * (0.5 + 0.5 * shrink)
        paths.append([bead(at, r), bead(middle, (r + thin) / 2), bead(end, thin)])
        if r * shrink < thinnest:
            continue
        heading = (end - middle) / max(float(np.linalg.norm(end - middle)), 1e-6)
        side = np.cross(heading, rng.normal(0, 1, 3))
        side /= max(float(np.linalg.norm(side)), 1e-6)
        for sign, size in ((1.0, shrink), (-1.0, shrink * rng.uniform(0.75, 1.0))):
            angle = spread * rng.uniform(0.6, 1.3)
            turned = np.cos(angle) * heading + sign * np.sin(angle) * side
            branches.append((end, turned, r * size, max(length * rng.uniform(0.62, 0.85), 6.0)))
    return paths


# Named vessels as (x, y, z, radius) in mm; `_PAIRED` runs on the left side and mirrored on the right.
# fmt: off
_SINGLE: dict[str, tuple[Path, ...]] = {
    "vein": (
        ((-17, 20, 18, 9.5), (-21, 15, 70, 10.5), (-24, 12, 110, 11.5), (-25, 16, 160, 12), (-24, 10, 200, 13),
         (-24, -6, 232, 13)),  # lower cava
        ((-27, -20, 285, 10), (-27, -20, 325, 9), (-26, -26, 400, 8)),  # upper cava
        # trunk and branches to the lungs
        ((22, -52, 285, 13), (20, -40, 305, 14), (14, -10, 318, 12), (-20, -4, 310, 10), (-45, 4, 300, 8)),
        ((18, -25, 314, 12), (34, 4, 318, 11), (52, 12, 305, 8)),
        # iliac
        ((-17, 20, 18, 8), (-28, 32, -32, 6.5), (-45, 18, -75, 6.5), (-46, -33, -125, 6.5), (-43, -56, -200, 6.5)),
        ((-17, 20, 18, 8), (22, 32, -32, 6.5), (45, 18, -75, 6.5), (46, -33, -125, 6.5), (43, -56, -200, 6.5)),
        # renal
        ((-22, 13, 100, 5), (-38, 24, 97, 5), (-54, 36, 95, 4)),
        ((-22, 10, 106, 4.5), (2, 2, 108, 4), (22, 10, 110, 5), (52, 36, 108, 4)),
    ),
    "artery": (
        ((30, 30, 352, 11.5), (24, 36, 310, 11.5), (20, 36, 250, 11), (12, 26, 190, 10.5), (8, 19, 120, 9.5),
         (5, 14, 60, 8.5), (4, 13, 24, 8)),  # aorta, then its arch
        ((30, 30, 352, 11.5), (18, 0, 358, 12), (-10, -30, 340, 14), (-12, -36, 305, 15), (2, -30, 284, 14)),
        ((8, 18, 112, 3.2), (-30, 30, 96, 2.8), (-50, 38, 96, 2.4)),  # renal
        ((8, 18, 112, 3.2), (30, 30, 109, 2.8), (50, 38, 109, 2.4)),
        ((8, 12, 136, 3.6), (4, -6, 122, 3.6), (3, -18, 90, 3.2), (8, -26, 40, 2.4), (20, -22, 0, 1.6)),  # mesenteric
        ((9, 10, 150, 3.8), (10, -4, 152, 3.5), (-12, -12, 150, 2.8), (-30, -14, 152, 2.4)),  # coeliac trunk to liver
        ((10, -4, 152, 3), (40, 2, 160, 2.5), (86, 20, 178, 2.2)),  # splenic
    ),
    "portal": (
        ((-6, -10, 132, 6), (-4, -20, 108, 5.5), (-4, -27, 70, 4.6), (-10, -28, 20, 3.2)),  # mesenteric
        ((-6, -10, 132, 5), (30, -2, 146, 4.5), (62, 4, 164, 4.2), (90, 24, 174, 3.5)),  # splenic
    ),
}
_PAIRED: dict[str, tuple[Path, ...]] = {
    "vein": (((22, 32, -32, 4.5), (42, 54, -78, 3.5)),),  # inner iliac
    "artery": (
        ((4, 13, 24, 7), (26, 22, -30, 6), (43, 6, -75, 5.5), (49, -42, -125, 5.2), (52, -62, -200, 5)),  # iliac
        ((26, 22, -30, 4.5), (40, 46, -75, 3.5), (46, 52, -110, 2.5)),
    ),
}
# fmt: on


def paint_vessels(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint aorta, cava, iliac, renal, mesenteric and splenic vessels and the chest's great vessels."""
    density = {"vein": patient.tissue.vein, "portal": patient.tissue.portal, "artery": patient.tissue.artery}
    _paint_mesentery(canvas, trunk, density, rng)
    for kind, hu in density.items():
        tubes = Tubes(canvas.grid, (-160.0, -110.0, -230.0), (160.0, 110.0, 430.0))
        pairs = _PAIRED.get(kind, ())
        mirrored = [[(-x, y, z, radius) for x, y, z, radius in path] for path in pairs]
        for path in (*_SINGLE[kind], *pairs, *mirrored):
            # Inner points move about 3 mm: no two patients have a vessel in the same place.
            inner = [bead(np.array(point[:3]) + rng.normal(0, 2.8, 3), point[3]) for point in path[1:-1]]
            tubes.add([path[0], *inner, path[-1]])
        if tubes.block is not None:
            block = tubes.block
            in_liver = (canvas.liver[block] - np.float32(0.4)) * np.float32(8)
            canvas.paint_thin(block, np.maximum(tubes.field - np.float32(1.6), in_liver), FAT_HU, amount=0.55)
            canvas.paint_thin(block, tubes.field, np.float32(hu) + canvas.grain[block] * np.float32(2.5))


def _paint_mesentery(canvas: Canvas, trunk: Trunk, density: dict[str, float], rng: np.random.Generator) -> None:
    """Twigs from the root of the mesentery to the bowel; they end at the cavity's wall."""
    kinds = {kind: Tubes(canvas.grid, (-125.0, -110.0, -110.0), (125.0, 60.0, 150.0)) for kind in ("portal", "artery")}
    for _ in range(16):
        aim = np.array([rng.uniform(-75, 75), rng.uniform(-70, -25), rng.uniform(-60, 90)])
        start = np.array([2 + rng.normal(0, 4), -22.0, rng.uniform(30, 95)])
        for path in grow_tree(rng, start, aim, radius=rng.uniform(1.7, 2.6), thinnest=1.1, spread=0.4, shrink=0.78):
            kinds["portal" if rng.random() < 0.6 else "artery"].add(path)
    for kind, tubes in kinds.items():
        if tubes.block is not None:
            twigs = np.maximum(tubes.field, trunk.cavity[tubes.block] + np.float32(6))
            twigs = np.maximum(twigs, (canvas.liver[tubes.block] - np.float32(0.2)) * np.float32(8))
            canvas.paint_thin(tubes.block, twigs, density[kind])


def paint_airways(canvas: Canvas) -> None:
    """Paint the gullet with a little air, windpipe and main bronchi."""
    gullet = Tubes(canvas.grid, (-30, -20, 185), (50, 60, 430))
    gullet.add([(24, 6, 192, 7), (14, 14, 215, 8), (8, 20, 250, 7.5), (4, 26, 310, 7.5), (4, 30, 420, 7.5)])
    if gullet.block is not None:
        canvas.paint_thin(gullet.block, gullet.field, 60.0)
        canvas.paint_thin(gullet.block, gullet.field + np.float32(5.5), -150.0, amount=0.7)
    windpipe = Tubes(canvas.grid, (-60, -30, 280), (60, 40, 430))
    windpipe.add([(0, 10, 420, 9), (1, 8, 335, 9), (0, 8, 328, 8)])
    windpipe.add([(0, 8, 330, 7), (-24, 10, 305, 6.5), (-40, 14, 285, 4)])
    windpipe.add([(0, 8, 330, 6.5), (28, 12, 302, 6), (44, 16, 285, 4)])
    if windpipe.block is not None:
        canvas.paint_thin(windpipe.block, windpipe.field - np.float32(1.5), 60.0)
        canvas.paint_thin(windpipe.block, windpipe.field, -980.0)
