"""One synthetic patient as numbers: build, contrast phase, scan range, scanner; drawn before any voxel exists.

HU of organs follow the usual figures of contrast-enhanced abdominal CT: parenchyma at its peak and vessels a little
brighter in the portal phase, bright arteries and kidney cortex in the arterial phase, everything near 30–60 HU
without contrast.

What matters most for learning, the contrast phase and the lesion load, is not drawn independently: from patient to
patient of a seed they step by an irrational number modulo 1, so any dozen patients in a row hold about the right mix
and the class shares stay near the thesis's Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.phantom.grid import SIZE, Frame

LIVER_TOP_MM, LIVER_BOTTOM_MM = 221.0, 68.0
"""Typical reach of the liver in the reference frame."""

LIVER_SHARE = 0.316
"""Share of slices that show the liver, Table 1 of the thesis: classes 1 and 2 together."""

STRIDES = (0.41421356237309515, 0.6180339887498949)
"""√2 − 1 for the phase, the golden ratio − 1 for the lesion load."""


# Phase: the quantile up to which it is drawn, and HU as (mean, spread).
# fmt: off
_PHASES: dict[str, tuple[float, dict[str, tuple[float, float]]]] = {
    "portal": (0.70, {
        "liver": (105, 7), "spleen": (119, 5), "artery": (150, 8), "portal": (163, 8), "vein": (155, 8),
        "cortex": (190, 9), "medulla": (170, 9), "pancreas": (92, 7), "bowel_wall": (88, 7), "muscle": (57, 3),
    }),
    "fatty": (0.80, {  # portal phase, fat stored in the liver: its vessels stand out
        "liver": (58, 9), "spleen": (114, 5), "artery": (148, 8), "portal": (152, 8), "vein": (146, 8),
        "cortex": (186, 9), "medulla": (166, 9), "pancreas": (82, 8), "bowel_wall": (84, 7), "muscle": (57, 3),
    }),
    "arterial": (0.92, {  # hepatic veins not yet filled: about as dense as the liver
        "liver": (76, 6), "spleen": (122, 9), "artery": (265, 25), "portal": (122, 12), "vein": (79, 6),
        "cortex": (198, 14), "medulla": (105, 10), "pancreas": (104, 8), "bowel_wall": (96, 8), "muscle": (57, 3),
    }),
    "unenhanced": (1.01, {  # blood is darker than the liver
        "liver": (60, 3), "spleen": (48, 2), "artery": (41, 2), "portal": (41, 2), "vein": (40, 2),
        "cortex": (33, 2), "medulla": (31, 2), "pancreas": (40, 3), "bowel_wall": (38, 3), "muscle": (53, 3),
    }),
}
# fmt: on


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """Mean HU of what the contrast agent changes."""

    phase: str
    liver: float
    spleen: float
    artery: float
    portal: float
    vein: float
    cortex: float
    medulla: float
    pancreas: float
    bowel_wall: float
    muscle: float


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Everything drawn once per patient.

    fat_mm: subcutaneous fat.
    belly: front of the abdominal cavity, relative to the reference.
    age: 0 young … 1 old (sparse bone, fatty muscle).
    lesion_share: share of liver slices that should show a lesion; 0 is a healthy liver.
    oral_contrast: share of bowel loops that hold contrast medium.
    noise_hu: standard deviation in the middle of the body.
    sharpness: 0 soft … 1 sharp reconstruction kernel.
    table: kind of couch, 0 none in view.
    """

    frame: Frame
    tissue: Tissue
    female: bool
    fat_mm: float
    belly: float
    age: float
    lesion_share: float
    oral_contrast: float
    noise_hu: float
    sharpness: float
    table: int


def draw_patient(seed: int, number: int, rng: np.random.Generator, *, slices: int | None) -> Patient:
    """Draw patient `number` of a seed. `slices` changes only how finely the same body is sampled."""
    u_phase, u_lesion = ((_offset(seed, k) + (number + 1) * stride) % 1.0 for k, stride in enumerate(STRIDES))
    female = rng.random() < 0.5
    build = rng.normal()
    size = (0.97 if female else 1.02) + 0.035 * rng.normal()
    scale = (
        float(np.clip(size + 0.03 * build, 0.88, 1.16)),
        float(np.clip(size + 0.03 * build + 0.02 * rng.normal(), 0.88, 1.16)),
        float(np.clip(size + 0.02 * rng.normal(), 0.9, 1.1)),
    )
    fat_mm = float(np.clip((19 if female else 14) + 9 * build + 4 * rng.normal(), 4, 42))
    belly = float(np.clip(1.0 + 0.07 * build + 0.05 * rng.normal(), 0.86, 1.22))
    width_mm = 2 * (152 + fat_mm) * scale[0]
    return Patient(
        frame=_draw_frame(rng, scale, width_mm, slices),
        tissue=_draw_tissue(rng, u_phase),
        female=bool(female),
        fat_mm=fat_mm,
        belly=belly,
        age=float(rng.random()),
        lesion_share=_lesion_share(u_lesion),
        oral_contrast=float(rng.uniform(0.4, 0.95)) if rng.random() < 0.4 else 0.0,
        noise_hu=float(np.exp(rng.uniform(np.log(6.5), np.log(17.0)))),
        sharpness=float(rng.random()),
        table=int(rng.integers(0, 4)),
    )


def _offset(seed: int, axis: int) -> float:
    return float(np.random.default_rng([seed, 0x0FF5E7 + axis]).random())


def _draw_frame(
    rng: np.random.Generator, scale: tuple[float, float, float], width_mm: float, slices: int | None
) -> Frame:
    """Choose scan range, slice count and field of view so that the liver fills about 31.6 % of the slices."""
    liver_mm = LIVER_TOP_MM - LIVER_BOTTOM_MM
    length = liver_mm / LIVER_SHARE * rng.uniform(0.9, 1.12)
    below = rng.uniform(0.52, 0.66) * (length - liver_mm)
    bottom = max(LIVER_BOTTOM_MM - below, -172.0)
    thickness = float(rng.choice([2.5, 3.0, 4.0, 5.0]))
    wanted = rng.integers(36, 47)
    gap = max(round(length * scale[2] / (wanted * thickness)), 1)
    count = int(np.clip(round(length * scale[2] / (gap * thickness)), 34, 48))
    jitter = rng.random()
    n = count if slices is None else slices
    step = length / n
    z = (bottom + step * (np.arange(n) + jitter)).astype(np.float32)
    pixel = width_mm / (SIZE * rng.uniform(0.76, 1.0))
    column = (SIZE - 1) / 2 + rng.uniform(-5, 5)
    row = (SIZE - 1) / 2 - rng.uniform(-4, 14)
    return Frame(z_mm=z, step_mm=step, scale=scale, pixel_mm=pixel, thickness_mm=thickness, centre=(column, row))


def _draw_tissue(rng: np.random.Generator, u: float) -> Tissue:
    """Draw HU of the phase that quantile `u` falls into: mean ± spread, cut at two spreads."""
    phase = next(name for name, (upto, _) in _PHASES.items() if u < upto)
    drawn = {
        name: float(mean + spread * np.clip(rng.normal(), -2, 2)) for name, (mean, spread) in _PHASES[phase][1].items()
    }
    return Tissue(phase=phase, **drawn)


def _lesion_share(u: float) -> float:
    """Healthy for the lowest fifth, then rising to almost every liver slice; the mean is about 0.38."""
    return 0.0 if u < 0.2 else 0.12 + 0.70 * (u - 0.2) / 0.8
