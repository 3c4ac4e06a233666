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

Bool = npt.NDArray[np.bool_]

# By phase: share of lesions brighter than the liver, and the range of the darker ones' contrast in −HU.
_CONTRAST = {"portal": (0.05, 26, 60), "fatty": (0.2, 22, 42), "arterial": (0.45, 22, 44), "unenhanced": (0.0, 22, 36)}

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


def paint_lesions(
    canvas: Canvas, patient: Patient, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], list[Lesion]]:
    """Paint the patient's lesions; return the labels, uint8 [Z, 256, 256]: 0 background, 1 liver, 2 lesion.

    A slice's class is the largest label in its mask. So that a class is always visible, liver or lesion of fewer than
    `SMALLEST_AREA` pixels on a slice is taken out of that slice's mask.
    """
    liver = canvas.liver >= 0.5
    shown = _shown(liver)
    liver[~shown] = False
    # Without the pixels at in-plane edges, so that lesions stay strictly inside.
    inner = liver.copy()
    for axis in (1, 2):
        inner &= np.roll(liver, 1, axis) & np.roll(liver, -1, axis)
    marks = np.zeros_like(liver)
    lesions: list[Lesion] = []

    def add(room: Bool, levels: Bool, diameter: float, contrast: float) -> None:
        lesion = _put(canvas, rng, room, levels, diameter, contrast)
        if lesion is not None:
            _paint_lesion(canvas, rng, lesion, inner, marks)
            lesions.append(lesion)

    wanted = round(patient.lesion_share * int(shown.sum()))
    faint_ones = int(rng.integers(0, 3)) if wanted else 0
    for _ in range(4 * MOST_LESIONS):
        hit = _shown(marks)
        left, missing = MOST_LESIONS - faint_ones - len(lesions), wanted - int(hit.sum())
        if missing <= 0 or left <= 0:
            break
        add(inner, ~hit, *_draw_plain(patient, rng, canvas.grid.frame.spacing_mm[0] * missing, left))
    hit = _shown(marks)
    for _ in range(faint_ones):
        # Mostly on slices that show a plain lesion already, so that few slices hang on a faint one alone.
        levels = hit if rng.random() < 0.7 else np.ones_like(hit)
        add(inner & ~marks, levels, rng.uniform(7.5, 12), -rng.uniform(12.5, 20))
    labels = liver.astype(np.uint8)
    labels[marks & _shown(marks)[:, None, None]] = 2
    return labels, lesions


def _shown(mask: Bool) -> Bool:
    """Slices on which enough of a class shows, bool [Z]."""
    return np.asarray(mask.sum(axis=(1, 2)) >= SMALLEST_AREA)


def _draw_plain(patient: Patient, rng: np.random.Generator, height_mm: float, left: int) -> tuple[float, float]:
    """Diameter (mm) and contrast (HU) of a lesion that a careful reader sees through the patient's noise.

    height_mm is how much of the liver's height still wants lesions, left how many lesions may share it.
    """
    typical = rng.uniform(30, 60) if rng.random() < 0.2 else 15 * np.exp(0.45 * rng.normal())
    needed = 1.25 * height_mm / left * rng.uniform(0.9, 1.3)
    diameter = float(np.clip(max(typical, needed), 8.0, max(10.0, min(60.0, 1.15 * height_mm))))
    bright, dark_from, dark_to = _CONTRAST[patient.phase]
    plain = patient.noise_hu * (1.3 + 6.0 / diameter)
    if rng.random() < bright:
        return diameter, min(max(rng.uniform(17, 25), plain), 25)
    return diameter, -min(max(rng.uniform(dark_from, dark_to), plain), 60)


def _put(
    canvas: Canvas, rng: np.random.Generator, room: Bool, levels: Bool, diameter: float, contrast: float
) -> Lesion | None:
    """Put a lesion where `room` holds most of it, on one of `levels`; None where no place was found."""
    free = np.flatnonzero(levels & room.any(axis=(1, 2)))
    if len(free) == 0:
        return None
    reach = 0.5 * diameter / canvas.grid.frame.pixel_mm
    angles = np.arange(12) * (np.pi / 6)
    ring = 0.8 * reach * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    for _ in range(12):
        level = int(rng.choice(free))
        row, column = (int(at) for at in rng.choice(np.argwhere(room[level])))
        rows, columns = np.clip(np.rint(ring + np.array((row, column))), 0, SIZE - 1).astype(np.intp).T
        if room[level, rows, columns].mean() >= 0.8:
            break
    else:
        return None
    kind = rng.random()
    ripe = diameter > 18 and contrast < 0
    return Lesion(
        at=(level, row, column),
        diameter_mm=diameter,
        contrast_hu=contrast,
        rim_hu=rng.uniform(6, 16) if ripe and kind < 0.3 else 0.0,
        centre_hu=-rng.uniform(8, 25) if ripe and 0.2 < kind < 0.6 else 0.0,
        edge_mm=rng.uniform(1.5, 3.0) + 0.05 * diameter,
    )


def _paint_lesion(canvas: Canvas, rng: np.random.Generator, lesion: Lesion, inner: Bool, marks: Bool) -> None:
    """Change HU inside the liver and add the lesion's voxels to `marks`."""
    grid = canvas.grid
    radius = lesion.diameter_mm / 2
    x0, y0, z0 = (float(axis[lesion.at]) for axis in (grid.x, grid.y, grid.z))
    pad = radius * 1.5 + 12
    block = grid.block((x0 - pad, y0 - pad, z0 - pad), (x0 + pad, y0 + pad, z0 + pad))
    drift = rng.uniform(-0.2, 0.2) * radius if lesion.diameter_mm > 15 else 0.0
    uneven = np.exp(rng.normal(0, 0.12, 3))
    uneven *= radius / np.cbrt(uneven.prod())
    rx, ry, rz = (float(r / scale) for r, scale in zip(uneven, grid.frame.scale, strict=True))
    body = ellipsoid(*grid.at(block), (x0, y0, z0 + drift), (rx, ry, rz), yaw=rng.uniform(0, np.pi))
    body += grid.lumps[int(rng.integers(0, 3))][block] * (0.28 * radius)
    body += canvas.mottle[block] * min(0.07 * radius, 1.2)
    part = inside(body, grid, lesion.edge_mm)
    marks[block] |= (part >= 0.5) & inner[block]
    change = np.full_like(body, lesion.contrast_hu)
    if lesion.rim_hu:
        change += np.exp(-(((body + 2.5) / 2.2) ** 2)) * (lesion.rim_hu - 0.35 * lesion.contrast_hu)
    if lesion.centre_hu:
        change += inside(body + 0.45 * radius, grid, 5.0) * lesion.centre_hu
    change += canvas.mottle[block] * 4 + canvas.grain[block] * 3
    np.clip(change, -75, 40, out=change)
    # Vessels end at a lesion: blend towards liver + contrast, not on top of what is there. The median tells the liver's
    # usual HU, so bright vessels do not count.
    usual = canvas.hu[block][canvas.liver[block] > 0.9]
    liver_hu = float(np.median(usual) if usual.size else canvas.hu[lesion.at])
    canvas.tint(block, part * canvas.liver[block], liver_hu + change)
