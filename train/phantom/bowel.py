"""Hollow organs: stomach with its fluid level, small bowel, colon with stool and gas, bladder.

Loops of bowel are curved sausages packed side by side. Each voxel belongs to the loop it lies deepest in; half-way to
the second deepest runs the wall between them, so touching loops stay apart as they do in CT.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.grid import F32, PhantomGrid
from train.phantom.patient import Patient
from train.phantom.shapes import FAR, Path, Tubes, bead, ellipsoid, meet, tube_distance
from train.phantom.trunk import Trunk

GAS_HU = -960.0

# Course of the large bowel in mm, radius in mm, share of its height that holds gas, crumbliness of its content.
_COLON = (
    (((-92, 12, -45), (-98, 18, -10), (-100, 22, 30), (-100, 18, 62), (-92, -2, 82)), 20.0, 0.3, 1.0),
    (((-92, -2, 82), (-80, -48, 88), (-45, -70, 84), (0, -76, 74), (42, -72, 92), (78, -46, 128)), 15.0, 0.55, 0.5),
    (((78, -46, 128), (102, -4, 158), (106, 34, 80), (102, 30, 30), (98, 18, -20), (84, 6, -52)), 12.0, 0.3, 0.8),
    (((84, 6, -52), (58, -18, -74), (18, -32, -62), (-8, 0, -72), (6, 42, -82), (0, 58, -100)), 11.0, 0.4, 0.7),
    (((0, 58, -100), (2, 60, -118), (0, 62, -140), (0, 66, -175)), 13.0, 0.35, 0.7),
)
# Course of the stomach from fundus to pylorus; (x, y, z, a, b): its radius is a · filling + b.
_STOMACH = (
    (62, 26, 204, 26, 8),
    (68, 8, 182, 28, 6),
    (66, -24, 160, 24, 5),
    (50, -52, 138, 18, 5),
    (22, -62, 122, 12, 5),
    (-8, -56, 120, 0, 11),
    (-30, -42, 122, 0, 10),
)


class Loops(Tubes):
    """Packed loops: distance to the deepest (`field`) and second deepest loop, and which loop is deepest."""

    def __init__(self, grid: PhantomGrid) -> None:
        super().__init__(grid, (-135, -115, -230), (135, 95, 185))
        self.second: F32 = np.full_like(self.field, FAR)
        self.owner: npt.NDArray[np.int16] = np.zeros(self.field.shape, np.int16)
        self.contents: list[tuple[float, float, float]] = []

    def loop(self, path: Path, *, hu: float, gas: float, stool: float) -> None:
        """Add one loop. gas is the share of its height that holds gas, stool how crumbly its content is (0…1)."""
        number = len(self.contents)
        top, bottom = min(p[1] - p[3] for p in path), max(p[1] + p[3] for p in path)
        self.contents.append((hu, top + gas * (bottom - top) if gas > 0 else -1e3, stool))
        for here, there, start, end in self.pieces(path, 7.0):
            distance = tube_distance(*self.grid.at(here), start, end)
            first, second, owner = self.field[there], self.second[there], self.owner[there]
            np.minimum(second, np.maximum(first, distance), out=second, where=owner != number)
            owner[distance < first] = number
            np.minimum(first, distance, out=first)


def paint_bowel(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint small bowel, colon and rectum into the fat of the cavity."""
    loops = Loops(canvas.grid)
    block, edge = loops.block, canvas.edge_mm
    _lay_colon(loops, patient, rng)
    _lay_small_bowel(loops, patient, rng)
    shape = np.maximum(loops.field, (loops.field - loops.second) * 0.5 + 0.6) + canvas.mottle[block] * 0.8
    shape = np.maximum(shape, np.maximum(trunk.cavity[block] + 2.5, trunk.below[block] + 3))
    voxels = np.flatnonzero(shape < 3)
    fields = (shape, loops.owner, canvas.grain[block], canvas.mottle[block], canvas.grid.y[block])
    depth, owner, grain, mottle, y = (field.ravel()[voxels] for field in fields)
    content, gas_above, crumbs = np.array(loops.contents, np.float32).T[:, owner]
    content += grain * (5 + 0.06 * np.abs(content))
    content += crumbs * (22 * mottle - 240 * np.clip(grain - 1.1, 0, 2))
    content += np.clip((gas_above - y) / edge, 0, 1) * (GAS_HU - content)
    wall_mm = 2.0 + 0.7 * np.clip(mottle, -1, 1)
    lumen = np.clip(0.5 - (depth + wall_mm) / edge, 0, 1)
    hu = patient.tissue.bowel_wall + lumen * (content - patient.tissue.bowel_wall)
    canvas.paint_at(block, voxels, np.clip(0.5 - depth / edge, 0, 1), hu)


def _lay_colon(loops: Loops, patient: Patient, rng: np.random.Generator) -> None:
    for course, width, gas, stool in _COLON:
        points = np.array(course, np.float64)
        points[1:-1] += rng.normal(0, (4, 4, 7), points[1:-1].shape)
        at = np.linspace(0, len(points) - 1, 4 * len(points) - 3)
        smooth = np.stack([np.interp(at, np.arange(len(points)), points[:, k]) for k in range(3)], axis=1)
        wave = np.sin(np.arange(len(at)) * 1.9 + rng.uniform(0, 6))
        radii = width * rng.uniform(0.8, 1.2) * (1 + 0.22 * wave + 0.06 * rng.normal(size=len(at)))
        hu = rng.uniform(180, 330) if rng.random() < 0.5 * patient.oral_contrast else rng.uniform(5, 45)
        for k in range(0, len(at) - 1, 4):
            path = [bead(p, r) for p, r in zip(smooth[k : k + 5], radii[k : k + 5], strict=True)]
            full = gas * rng.uniform(0.2, 1.5) if rng.random() < 0.75 else 0.0
            loops.loop(path, hu=hu + rng.normal(0, 6), gas=full, stool=stool * rng.uniform(0.3, 1.2))


def _lay_small_bowel(loops: Loops, patient: Patient, rng: np.random.Generator) -> None:
    placed = np.full((1, 3), 1e3)
    for _ in range(170):
        tries = rng.uniform((-90, -76, -116), (90, 12, 116), (12, 3))
        # jejunum fills the left upper side, ileum the pelvis; the middle back belongs to mesentery and great vessels
        bad = (tries[:, 2] > 45) & (tries[:, 0] < -25)
        bad |= (np.abs(tries[:, 0]) < 26) & (tries[:, 1] > -38) & (tries[:, 2] > -30)
        apart = (tries[:, None, :] - placed[None, :, :]) * (1.0, 1.0, 0.7)
        distance = np.sqrt((apart * apart).sum(axis=2).min(axis=1))
        points = [tries[int(np.argmax(distance - 100.0 * bad))]]
        placed = np.concatenate([placed, points])
        heading, bend, radius = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.7), rng.uniform(8.0, 13.5)
        for step in range(3):
            way = heading + bend * step
            ahead = np.array([np.cos(way), 0.8 * np.sin(way), 0.35 * rng.normal()])
            points.append(points[-1] + ahead * rng.uniform(10, 20))
        reach = (150, 320) if rng.random() < patient.oral_contrast else (12, 45) if rng.random() < 0.5 else (55, 85)
        hu = rng.uniform(*reach)
        path = [bead(p, radius * rng.uniform(0.8, 1.15)) for p in points]
        loops.loop(path, hu=hu, gas=rng.uniform(0.2, 0.6) if rng.random() < 0.12 else 0.0, stool=0.15)


def paint_stomach(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the stomach: wall, food or contrast medium, and gas above a level (the patient lies on the back)."""
    grid = canvas.grid
    full = rng.uniform(0.55, 1.1)
    tubes = Tubes(grid, (-60, -110, 70), (140, 85, 240))
    tubes.add([(x + rng.normal(0, 4), y, z + rng.normal(0, 3), a * full + b) for x, y, z, a, b in _STOMACH])
    block = tubes.block
    grain, mottle = canvas.grain[block], canvas.mottle[block]
    shape = tubes.field + grid.lumps[1][block] * 5 + grid.lumps[0][block] * 3
    shape = meet(meet(shape, trunk.below[block] + 3, 5.0), trunk.cavity[block] + 4, 6.0)
    canvas.paint(block, shape - 3, FAT_HU, amount=0.9)
    canvas.paint(block, shape, patient.tissue.bowel_wall + grain * 5)
    lumen = shape + 4.2 + 1.6 * np.clip(mottle, -1, 1)  # folds
    hu = rng.uniform(150, 300) if rng.random() < 0.8 * patient.oral_contrast else rng.uniform(5, 40)
    crumbs = rng.uniform(0, 1) if hu < 100 else 0.1
    canvas.paint(block, lumen, hu + grain * 4 + crumbs * (18 * mottle - 160 * np.clip(grain - 1.2, 0, 2)))
    if rng.random() < 0.8:
        canvas.paint(block, np.maximum(lumen, grid.y[block] - rng.uniform(-78, -30)), GAS_HU)


def paint_bladder(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the bladder: a muscular wall around urine without contrast agent."""
    block = canvas.grid.block((-70, -85, -215), (70, 80, -50))
    x, y, z = canvas.grid.at(block)
    fill = rng.uniform(0.6, 1.2)
    bag = ellipsoid(x, y, z, (rng.normal(0, 3), -20, -134), (36 * fill, 30 * fill, 30 * fill))
    bag += canvas.grid.lumps[1][block] * 4
    canvas.paint(block, bag - 2.5, FAT_HU, amount=0.8)
    canvas.paint(block, bag, patient.tissue.muscle)
    canvas.paint(block, bag + 3, rng.uniform(2, 14))
