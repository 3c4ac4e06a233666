"""Blood vessels: branching trees and the named trunks, as tubes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.patient import Patient
from train.phantom.shapes import Path, Tubes, bead

Vector = npt.NDArray[np.float64]

# Named vessels as (x, y, z, radius) in mm. By kind: those of the left side that are mirrored on the right, the others.
_VESSELS: dict[str, tuple[tuple[Path, ...], tuple[Path, ...]]] = {
    "vein": (
        (
            ((22, 32, -32, 6.5), (45, 18, -75, 6.5), (46, -33, -125, 6.5), (43, -56, -200, 6.5)),  # iliac
            ((22, 32, -32, 4.5), (42, 54, -78, 3.5)),
        ),
        (
            ((22, 32, -32, 6.5), (-17, 20, 18, 8), (-22, 32, -32, 6.5)),  # lower cava
            ((-17, 20, 18, 9.5), (-21, 15, 70, 10.5), (-24, 12, 110, 11.5), (-25, 16, 160, 12), (-24, 10, 200, 13)),
            ((-24, 10, 200, 13), (-24, -6, 232, 13)),
            ((-27, -20, 285, 10), (-27, -20, 325, 9), (-26, -26, 400, 8)),  # upper cava
            ((22, -52, 285, 13), (20, -40, 305, 14), (14, -10, 318, 12), (-20, -4, 310, 10), (-45, 4, 300, 8)),  # lung
            ((18, -25, 314, 12), (34, 4, 318, 11), (52, 12, 305, 8)),
            ((-22, 13, 100, 5), (-38, 24, 97, 5), (-54, 36, 95, 4)),  # renal
            ((-22, 10, 106, 4.5), (2, 2, 108, 4), (22, 10, 110, 5), (52, 36, 108, 4)),
        ),
    ),
    "artery": (
        (
            ((4, 13, 24, 7), (26, 22, -30, 6), (43, 6, -75, 5.5), (49, -42, -125, 5.2), (52, -62, -200, 5)),  # iliac
            ((26, 22, -30, 4.5), (40, 46, -75, 3.5), (46, 52, -110, 2.5)),
        ),
        (
            ((30, 30, 352, 11.5), (24, 36, 310, 11.5), (20, 36, 250, 11), (12, 26, 190, 10.5)),  # aorta
            ((12, 26, 190, 10.5), (8, 19, 120, 9.5), (5, 14, 60, 8.5), (4, 13, 24, 8)),
            ((30, 30, 352, 11.5), (18, 0, 358, 12), (-10, -30, 340, 14), (-12, -36, 305, 15), (2, -30, 284, 14)),
            ((8, 18, 112, 3.2), (-30, 30, 96, 2.8), (-50, 38, 96, 2.4)),  # renal
            ((8, 18, 112, 3.2), (30, 30, 109, 2.8), (50, 38, 109, 2.4)),
            ((8, 12, 136, 3.6), (4, -6, 122, 3.6), (3, -18, 90, 3.2), (8, -26, 40, 2.4)),  # mesenteric
            ((9, 10, 150, 3.8), (10, -4, 152, 3.5), (-12, -12, 150, 2.8), (-30, -14, 152, 2.4)),  # coeliac to liver
            ((10, -4, 152, 3), (40, 2, 160, 2.5), (86, 20, 178, 2.2)),  # splenic
        ),
    ),
    "portal": (
        (),
        (
            ((-6, -10, 132, 6), (-4, -20, 108, 5.5), (-4, -27, 70, 4.6), (-10, -28, 20, 3.2)),  # mesenteric
            ((-6, -10, 132, 5), (30, -2, 146, 4.5), (62, 4, 164, 4.2), (90, 24, 174, 3.5)),  # splenic
        ),
    ),
}


def paint_vessels(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint aorta, cava, iliac, renal, mesenteric and splenic vessels and the chest's great vessels."""
    tissue = patient.tissue
    for kind, hu in (("vein", tissue.vein), ("portal", tissue.portal), ("artery", tissue.artery)):
        tubes = Tubes(canvas.grid, (-160, -110, -230), (160, 110, 430))
        pairs, others = _VESSELS[kind]
        mirrored = [[(-x, y, z, radius) for x, y, z, radius in path] for path in pairs]
        for path in (*pairs, *mirrored, *others):
            # Inner points move about 3 mm: no two patients have a vessel in the same place.
            inner = [bead(np.array(point[:3]) + rng.normal(0, 2.8, 3), point[3]) for point in path[1:-1]]
            tubes.add([path[0], *inner, path[-1]])
        in_liver = canvas.liver[tubes.block] * 8 - 3.2
        canvas.paint_thin(tubes.block, np.maximum(tubes.field - 1.6, in_liver), FAT_HU, amount=0.55)
        canvas.paint_thin(tubes.block, tubes.field, hu + canvas.grain[tubes.block] * 2.5)


def grow_tree(
    rng: np.random.Generator, start: Vector, aim: Vector, *, radius: float, thinnest: float
) -> Iterator[Path]:
    """Tubes of a tree that leaves `start` towards `aim` and forks until it is thinner than `thinnest` (all mm)."""
    shrink = 0.72
    way = aim - start
    reach = float(np.linalg.norm(way))
    branches = [(start, way / max(reach, 1e-6), radius, 0.55 * reach)]
    while branches:
        at, direction, r, length = branches.pop()
        middle = at + length * 0.5 * (direction + rng.normal(0, 0.12, 3))
        end = middle + length * (0.5 * direction + rng.normal(0, 0.08, 3))
        thin = r * (0.5 + 0.5 * shrink)
        yield [bead(at, r), bead(middle, (r + thin) / 2), bead(end, thin)]
        if r * shrink < thinnest:
            continue
        heading = (end - middle) / max(float(np.linalg.norm(end - middle)), 1e-6)
        side = np.cross(heading, rng.normal(0, 1, 3))
        side /= max(float(np.linalg.norm(side)), 1e-6)
        for sign, size in ((1.0, shrink), (-1.0, shrink * rng.uniform(0.75, 1.0))):
            angle = rng.uniform(0.33, 0.72)  # radians
            direction = np.cos(angle) * heading + sign * np.sin(angle) * side
            branches.append((end, direction, r * size, max(length * rng.uniform(0.62, 0.85), 6.0)))
