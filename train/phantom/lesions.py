"""Lesions of the liver, and the labels of a finished picture.

Metastasis-like bodies of 5–60 mm diameter, −60…+25 HU against the liver, with soft edges; some have a brighter rim or
a darker centre, some are small and faint (5–12 mm, −12…−20 HU). They are placed until the patient's share of liver
slices shows one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.phantom.canvas import Canvas
from train.phantom.grid import SIZE
from train.phantom.patient import Patient
from train.phantom.shapes import ellipsoid, inside

U8 = npt.NDArray[np.uint8]

# By phase: share of lesions brighter than the liver, and the range of the darker ones' contrast in −HU.
_CONTRAST = {
    "portal": (0.05, 26, 60),
    "fatty": (0.2, 22, 42),
    "arterial": (0.45, 22, 44),
    "unenhanced": (0.0, 22, 36),
}

MOST_LESIONS = 8
SMALLEST_AREA = 12
"""Pixels: a class with fewer on a slice is dropped from that slice, where partial volume hides it anyway."""


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One lesion: voxel (z, y, x) of its centre, diameter and edge width in mm, contrasts to the liver in HU."""

    at: tuple[int, int, int]
    diameter_mm: float
    contrast_hu: float
    rim_hu: float
    centre_hu: float
    edge_mm: float


def paint_lesions(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> tuple[U8, list[Lesion]]:
    """Paint the patient's lesions; return the labels, uint8 [Z, 256, 256]: 0 background, 1 liver, 2 lesion.

    A slice's class is the largest label in its mask. So that a class is always visible, liver or lesion of fewer than
    `SMALLEST_AREA` pixels on a slice is taken out of that slice's mask.
    """
    liver = canvas.liver >= 0.5
    area = liver.sum(axis=(1, 2))
    liver[area < SMALLEST_AREA] = False
    labels = liver.astype(np.uint8)
    inner = _shrink(liver)
    showing = np.flatnonzero(area >= SMALLEST_AREA)
    wanted = round(patient.lesion_share * len(showing))
    lesions: list[Lesion] = []
    marks = np.zeros(canvas.grid.shape, np.bool_)
    hit: npt.NDArray[np.bool_] = np.zeros(len(area), np.bool_)
    step = canvas.grid.frame.step[0] * canvas.grid.frame.scale[2]
    faint_ones = int(rng.integers(0, 3)) if wanted else 0
    for _ in range(4 * MOST_LESIONS):
        left = MOST_LESIONS - faint_ones - len(lesions)
        if hit.sum() >= wanted or left <= 0:
            break
        diameter, contrast = _draw_plain(patient, rng, step * (wanted - int(hit.sum())), left)
        lesion = _place(canvas, rng, inner, ~hit, diameter, contrast)
        if lesion is not None:
            _paint_lesion(canvas, rng, lesion, inner, marks)
            lesions.append(lesion)
            hit = marks.sum(axis=(1, 2)) >= SMALLEST_AREA
    for _ in range(faint_ones):
        # Mostly on slices that show a plain lesion already, so that few slices hang on a faint one alone.
        levels: npt.NDArray[np.bool_] = hit if rng.random() < 0.7 else np.ones_like(hit)
        lesion = _place(canvas, rng, inner & ~marks, levels, rng.uniform(7.5, 12), -rng.uniform(12.5, 20))
        if lesion is not None:
            _paint_lesion(canvas, rng, lesion, inner, marks)
            lesions.append(lesion)
    hit = marks.sum(axis=(1, 2)) >= SMALLEST_AREA
    marks[~hit] = False
    labels[marks] = 2
    return labels, lesions


def _shrink(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Take one pixel off every in-plane edge, so that lesions stay strictly inside."""
    inner = mask.copy()
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    inner[:, :, 1:] &= mask[:, :, :-1]
    inner[:, :, :-1] &= mask[:, :, 1:]
    return inner


def _draw_plain(patient: Patient, rng: np.random.Generator, height_mm: float, left: int) -> tuple[float, float]:
    """Diameter (mm) and contrast (HU) of a lesion that a careful reader sees through the patient's noise.

    height_mm is how much of the liver's height still wants lesions, left how many lesions may share it.
    """
    typical = rng.uniform(30, 60) if rng.random() < 0.2 else 15 * np.exp(0.45 * rng.normal())
    needed = 1.25 * height_mm / left * rng.uniform(0.9, 1.3)
    diameter = float(np.clip(max(typical, needed), 8.0, max(10.0, min(60.0, 1.15 * height_mm))))
    bright, dark_from, dark_to = _CONTRAST[patient.tissue.phase]
    plain = patient.noise_hu * (1.3 + 6.0 / diameter)
    if rng.random() < bright:
        return diameter, float(min(max(rng.uniform(17, 25), plain), 25))
    return diameter, -float(min(max(rng.uniform(dark_from, dark_to), plain), 60))


def _place(
    canvas: Canvas,
    rng: np.random.Generator,
    room: npt.NDArray[np.bool_],
    levels: npt.NDArray[np.bool_],
    diameter: float,
    contrast: float,
) -> Lesion | None:
    """Put a lesion where `room` holds most of it, on one of `levels`; None where no place was found."""
    free = np.flatnonzero(levels & room.any(axis=(1, 2)))
    if len(free) == 0:
        return None
    reach = 0.5 * diameter / canvas.grid.frame.pixel_mm
    angles = np.arange(12) * (np.pi / 6)
    for _ in range(12):
        level = int(rng.choice(free))
        rows, columns = np.nonzero(room[level])
        k = int(rng.integers(len(rows)))
        row, column = int(rows[k]), int(columns[k])
        around = (
            np.clip(np.rint(row + 0.8 * reach * np.sin(angles)), 0, SIZE - 1).astype(np.intp),
            np.clip(np.rint(column + 0.8 * reach * np.cos(angles)), 0, SIZE - 1).astype(np.intp),
        )
        if room[level][around].mean() >= 0.8:
            break
    else:
        return None
    kind = rng.random()
    ripe = diameter > 18 and contrast < 0
    return Lesion(
        at=(level, row, column),
        diameter_mm=float(diameter),
        contrast_hu=float(contrast),
        rim_hu=float(rng.uniform(6, 16)) if ripe and kind < 0.3 else 0.0,
        centre_hu=-float(rng.uniform(8, 25)) if ripe and 0.2 < kind < 0.6 else 0.0,
        edge_mm=float(rng.uniform(1.5, 3.0) + 0.05 * diameter),
    )


def _paint_lesion(
    canvas: Canvas,
    rng: np.random.Generator,
    lesion: Lesion,
    inner: npt.NDArray[np.bool_],
    marks: npt.NDArray[np.bool_],
) -> None:
    """Change HU inside the liver and add the lesion's voxels to `marks`."""
    grid = canvas.grid
    radius = lesion.diameter_mm / 2
    x0, y0, z0 = (float(axis[lesion.at]) for axis in (grid.x, grid.y, grid.z))
    drift = rng.uniform(-0.2, 0.2) * radius if lesion.diameter_mm > 15 else 0.0
    pad = radius * 1.5 + 12
    block = grid.block((x0 - pad, y0 - pad, z0 - pad), (x0 + pad, y0 + pad, z0 + pad))
    if block is None:
        return
    x, y, z = grid.at(block)
    stretch = np.exp(rng.normal(0, 0.12, 3))
    stretch *= radius / np.cbrt(stretch.prod())
    sizes = tuple(float(s / grid.frame.scale[i]) for i, s in enumerate(stretch))
    body = ellipsoid(x, y, z, (x0, y0, z0 + drift), (sizes[0], sizes[1], sizes[2]), turn=float(rng.uniform(0, np.pi)))
    body += grid.lumps[int(rng.integers(0, 3))][block] * np.float32(0.28 * radius)
    body += canvas.mottle[block] * np.float32(min(0.07 * radius, 1.2))
    part = inside(body, grid, lesion.edge_mm)
    marks[block] |= (part >= 0.5) & inner[block]
    part = part * canvas.liver[block]
    change = np.full_like(body, lesion.contrast_hu)
    if lesion.rim_hu:
        ring = np.exp(-(((body + np.float32(2.5)) / np.float32(2.2)) ** 2))
        change += ring * np.float32(lesion.rim_hu - 0.35 * lesion.contrast_hu)
    if lesion.centre_hu:
        change += inside(body + np.float32(0.45 * radius), grid, 5.0) * np.float32(lesion.centre_hu)
    change += canvas.mottle[block] * np.float32(4) + canvas.grain[block] * np.float32(3)
    np.clip(change, -75, 40, out=change)
    # Vessels end at a lesion: blend towards liver + contrast, not on top of what is there.
    canvas.tint(block, part, liver_hu(canvas, block, lesion) + change)


def liver_hu(canvas: Canvas, block: tuple[slice, slice, slice], lesion: Lesion) -> np.float32:
    """The liver's usual HU around a lesion: the median over its block, so bright vessels do not count."""
    values = canvas.hu[block][canvas.liver[block] > 0.9]
    return np.float32(np.median(values)) if values.size else np.float32(canvas.hu[lesion.at])
