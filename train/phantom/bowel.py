"""Hollow organs: stomach with its fluid level, small bowel, colon with stool and gas, bladder, womb or prostate.

Loops of bowel are curved sausages packed side by side. Each voxel belongs to the loop it lies deepest in; half-way to
the second deepest runs the wall between them, so touching loops stay apart as they do in CT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from train.phantom.canvas import FAT_HU, Canvas
from train.phantom.grid import F32, Grid, Point
from train.phantom.patient import Patient
from train.phantom.shapes import FAR, Path, Tubes, bead, ellipsoid, meet, tube_distance
from train.phantom.trunk import Trunk

GAS_HU = -960.0

# Course of the large bowel in mm, radius in mm, share of its height that holds gas, crumbliness of its content.
# fmt: off
_COLON: tuple[tuple[tuple[Point, ...], float, float, float], ...] = (
    (((-92, 12, -45), (-98, 18, -10), (-100, 22, 30), (-100, 18, 62), (-92, -2, 82)), 20.0, 0.3, 1.0),
    (((-92, -2, 82), (-80, -48, 88), (-45, -70, 84), (0, -76, 74), (42, -72, 92), (78, -46, 128), (102, -4, 158)),
     15.0, 0.55, 0.5),
    (((102, -4, 158), (108, 26, 120), (106, 34, 80), (102, 30, 30), (98, 18, -20), (84, 6, -52)), 12.0, 0.25, 0.8),
    (((84, 6, -52), (58, -18, -74), (18, -32, -62), (-8, 0, -72), (6, 42, -82), (0, 58, -100)), 11.0, 0.4, 0.7),
    (((0, 58, -100), (2, 60, -118), (0, 62, -140), (0, 66, -175)), 13.0, 0.35, 0.7),
)
# Course of the stomach from fundus to pylorus; (x, y, z, a, b): its radius is a · filling + b.
_STOMACH = (
    (62, 26, 204, 26, 8), (68, 8, 182, 28, 6), (66, -24, 160, 24, 5), (50, -52, 138, 18, 5), (22, -62, 122, 12, 5),
    (-8, -56, 120, 0, 11), (-30, -42, 122, 0, 10),
)
# fmt: on


class Loops(Tubes):
    """Packed loops: distance to the deepest (`field`) and second deepest loop, and which loop is deepest."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid, (-135, -115, -230), (135, 95, 185))
        self.hu: list[float] = []
        self.gas_above: list[float] = []
        self.stool: list[float] = []
        if self.block is not None:
            self.second: F32 = np.full_like(self.field, FAR)
            self.owner: npt.NDArray[np.int16] = np.zeros(self.field.shape, np.int16)

    def loop(self, path: Path, *, hu: float, gas: float = 0.0, stool: float = 0.0) -> None:
        """Add one loop. gas is the share of its height that holds gas, stool how crumbly its content is (0…1)."""
        number = len(self.hu)
        ys = np.array([p[1] for p in path])
        rs = np.array([p[3] for p in path])
        top, bottom = float((ys - rs).min()), float((ys + rs).max())
        self.hu.append(hu)
        self.gas_above.append(top + gas * (bottom - top) if gas > 0 else -1e3)
        self.stool.append(stool)
        for here, there, start, end in self.pieces(path, 7.0):
            near = tube_distance(*self.grid.at(here), start, end)
            first, second, owner = self.field[there], self.second[there], self.owner[there]
            mine = owner == number
            closer = near < first
            other = np.maximum(first, near)
            np.minimum(second, other, out=second, where=~mine)
            owner[closer] = number
            np.minimum(first, near, out=first)


def paint_bowel(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint small bowel, colon and rectum into the fat of the cavity."""
    loops = Loops(canvas.grid)
    if loops.block is None:
        return
    _lay_colon(loops, patient, rng)
    _lay_small_bowel(loops, patient, rng)
    block = loops.block
    y = canvas.grid.y[block]
    shape = np.maximum(loops.field, (loops.field - loops.second) * np.float32(0.5) + np.float32(0.6))
    shape += canvas.mottle[block] * np.float32(0.8)
    shape = np.maximum(shape, trunk.cavity[block] + np.float32(2.5))
    shape = np.maximum(shape, trunk.below[block] + np.float32(3))
    near = np.flatnonzero(shape < 3)
    index = np.unravel_index(near, shape.shape)
    owner = loops.owner[index]
    grain, mottle = canvas.grain[block][index], canvas.mottle[block][index]
    content = np.array(loops.hu, np.float32)[owner]
    crumbs = np.array(loops.stool, np.float32)[owner]
    content += grain * (np.float32(5) + np.float32(0.06) * np.abs(content))
    content += crumbs * (np.float32(22) * mottle - np.float32(240) * np.clip(grain - np.float32(1.1), 0, 2))
    depth = shape[index]
    edge = np.float32(canvas.edge_mm)
    gas = np.clip((np.array(loops.gas_above, np.float32)[owner] - y[index]) / edge, 0, 1)
    content += gas * (np.float32(GAS_HU) - content)
    wall_mm = np.float32(2.0) + np.float32(0.7) * np.clip(mottle, -1, 1)
    lumen = np.clip(np.float32(0.5) - (depth + wall_mm) / edge, 0, 1)
    hu = np.float32(patient.tissue.bowel_wall) + lumen * (content - np.float32(patient.tissue.bowel_wall))
    part = np.clip(np.float32(0.5) - depth / edge, 0, 1)
    view = canvas.hu[block]
    old = view[index]
    view[index] = old + part * (hu - old)


def _lay_colon(loops: Loops, patient: Patient, rng: np.random.Generator) -> None:
    for points, width, gas, stool in _COLON:
        loose = [(p[0] + rng.normal(0, 4), p[1] + rng.normal(0, 4), p[2] + rng.normal(0, 7)) for p in points[1:-1]]
        wave = rng.uniform(0, 6)
        smooth = _curve([points[0], *loose, points[-1]], 9.0)
        scale = width * rng.uniform(0.8, 1.2)
        hu = rng.uniform(180, 330) if rng.random() < 0.5 * patient.oral_contrast else rng.uniform(5, 45)
        for k in range(0, len(smooth) - 1, 4):
            piece = smooth[k : k + 5]
            radii = scale * (
                1.0 + 0.22 * np.sin(np.arange(k, k + len(piece)) * 1.9 + wave) + 0.06 * rng.normal(size=len(piece))
            )
            path = [bead(p, r) for p, r in zip(piece, radii, strict=True)]
            full = gas * rng.uniform(0.2, 1.5) if rng.random() < 0.75 else 0.0
            loops.loop(path, hu=hu + rng.normal(0, 6), gas=full, stool=stool * rng.uniform(0.3, 1.2))


def _lay_small_bowel(loops: Loops, patient: Patient, rng: np.random.Generator) -> None:
    placed = np.full((1, 3), 1e3)
    for _ in range(170):
        tries = np.stack([rng.uniform(-90, 90, 12), rng.uniform(-76, 12, 12), rng.uniform(-116, 116, 12)], axis=1)
        # jejunum fills the left upper side, ileum the pelvis; the middle back belongs to mesentery and great vessels
        bad = (tries[:, 2] > 45) & (tries[:, 0] < -25)
        bad |= (np.abs(tries[:, 0]) < 26) & (tries[:, 1] > -38) & (tries[:, 2] > -30)
        apart = (tries[:, None, :] - placed[None, :, :]) * (1.0, 1.0, 0.7)
        distance = np.sqrt((apart * apart).sum(axis=2).min(axis=1))
        centre = tries[int(np.argmax(distance - 100.0 * bad))]
        placed = np.concatenate([placed, centre[None]])
        heading = rng.uniform(0, 2 * np.pi)
        turn = rng.normal(0, 0.7)
        radius = rng.uniform(8.0, 13.5)
        points = [centre]
        for step in range(3):
            way = heading + turn * step
            ahead = np.array([np.cos(way), 0.8 * np.sin(way), 0.35 * rng.normal()])
            points.append(points[-1] + ahead * rng.uniform(10, 20))
        path = [bead(p, radius * rng.uniform(0.8, 1.15)) for p in points]
        draw = rng.random()
        if draw < patient.oral_contrast:
            hu, gas = rng.uniform(150, 320), 0.0
        elif draw < patient.oral_contrast + 0.5 * (1 - patient.oral_contrast):
            hu, gas = rng.uniform(12, 45), 0.0
        else:
            hu, gas = rng.uniform(55, 85), 0.0
        if rng.random() < 0.12:
            gas = rng.uniform(0.2, 0.6)
        loops.loop(path, hu=hu, gas=gas, stool=0.15)


def _curve(points: Sequence[Point], spacing: float) -> npt.NDArray[np.float64]:
    """Resample a chain of points about every `spacing` mm, its corners cut twice (Chaikin)."""
    line = np.array(points, np.float64)
    for _ in range(2):
        cut = np.empty((2 * len(line) - 2, 3))
        cut[0::2] = 0.75 * line[:-1] + 0.25 * line[1:]
        cut[1::2] = 0.25 * line[:-1] + 0.75 * line[1:]
        line = np.concatenate([line[:1], cut, line[-1:]])
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, along[-1], max(int(along[-1] / spacing), 2) + 1)
    return np.stack([np.interp(at, along, line[:, k]) for k in range(3)], axis=1)


def paint_stomach(canvas: Canvas, trunk: Trunk, patient: Patient, rng: np.random.Generator) -> None:
    """Paint the stomach: wall, food or contrast medium, and gas above a level (the patient lies on the back)."""
    grid = canvas.grid
    full = rng.uniform(0.55, 1.1)
    tubes = Tubes(grid, (-60, -110, 70), (140, 85, 240))
    tubes.add([(x + rng.normal(0, 4), y, z + rng.normal(0, 3), a * full + b) for x, y, z, a, b in _STOMACH])
    if tubes.block is None:
        return
    block = tubes.block
    shape = tubes.field + grid.lumps[1][block] * np.float32(5) + grid.lumps[0][block] * np.float32(3)
    shape = meet(shape, trunk.below[block] + np.float32(3), 5.0)
    shape = meet(shape, trunk.cavity[block] + np.float32(4), 6.0)
    canvas.paint(block, shape - np.float32(3), FAT_HU, amount=0.9)
    canvas.paint(block, shape, np.float32(patient.tissue.bowel_wall) + canvas.grain[block] * np.float32(5))
    folds = np.float32(4.2) + np.float32(1.6) * np.clip(canvas.mottle[block], -1, 1)
    hu = rng.uniform(150, 300) if rng.random() < 0.8 * patient.oral_contrast else rng.uniform(5, 40)
    crumbs = rng.uniform(0, 1) if hu < 100 else 0.1
    content = np.float32(hu) + canvas.grain[block] * np.float32(4) + np.float32(crumbs) * (
        np.float32(18) * canvas.mottle[block] - np.float32(160) * np.clip(canvas.grain[block] - np.float32(1.2), 0, 2)
    )  # fmt: skip
    canvas.paint(block, shape + folds, content)
    if rng.random() < 0.8:
        level = rng.uniform(-78, -30)
        air = np.maximum(shape + folds, grid.y[block] - np.float32(level))
        canvas.paint(block, air, GAS_HU)


def paint_pelvic_organs(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint bladder, and womb or prostate with seminal vesicles."""
    grid = canvas.grid
    block = grid.block((-70, -85, -215), (70, 80, -50))
    if block is None:
        return
    x, y, z = grid.at(block)
    fill = rng.uniform(0.6, 1.2)
    if patient.female:
        womb = ellipsoid(x, y, z, (rng.normal(0, 5), 14, -104), (25, 18, 26), turn=rng.normal(0, 0.3))
    else:
        womb = ellipsoid(x, y, z, (0, 14, -150), (23, 18, 18))
    womb += grid.lumps[0][block] * np.float32(3)
    canvas.paint(block, womb - np.float32(2), FAT_HU, amount=0.8)
    canvas.paint(block, womb, np.float32(patient.tissue.bowel_wall - 5) + canvas.grain[block] * np.float32(7))
    bag = ellipsoid(x, y, z, (rng.normal(0, 3), -26, -134), (36 * fill, 27 * fill, 30 * fill))
    bag += grid.lumps[1][block] * np.float32(4)
    canvas.paint(block, bag - np.float32(2.5), FAT_HU, amount=0.8)
    canvas.paint(block, bag, patient.tissue.muscle)
    canvas.paint(block, bag + np.float32(3), rng.uniform(2, 14))
