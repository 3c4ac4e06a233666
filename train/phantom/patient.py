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
from typing import NamedTuple

import numpy as np

from train.phantom.grid import SIZE, Point, SliceGeometry

LIVER_TOP_MM, LIVER_BOTTOM_MM = 221.0, 68.0
"""Typical reach of the liver in the reference frame."""

LIVER_SHARE = 0.316
"""Share of slices that show the liver, Table 1 of the thesis: classes 1 and 2 together."""

STRIDES = (0.41421356237309515, 0.6180339887498949)
"""√2 − 1 for the phase, the golden ratio − 1 for the lesion load."""

SPREAD = 0.055
"""Standard deviation of a tissue's HU from patient to patient, relative to its mean."""

# The quantile up to which a phase is drawn, and mean HU in the order of `Tissue`. In the fatty liver vessels stand out;
# in the arterial phase the hepatic veins are not yet filled; without contrast blood is darker than the liver.
_PHASES = {
    "portal": (0.70, (105, 119, 150, 163, 155, 190, 170, 92, 88, 57)),
    "fatty": (0.80, (58, 114, 148, 152, 146, 186, 166, 82, 84, 57)),
    "arterial": (0.92, (76, 122, 265, 122, 79, 198, 105, 104, 96, 57)),
    "unenhanced": (1.01, (60, 48, 41, 41, 40, 33, 31, 40, 38, 53)),
}


class Tissue(NamedTuple):
    """Mean HU of what the contrast agent changes."""

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

    frame: SliceGeometry
    phase: str
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
    u_phase, u_lesion = (
        (np.random.default_rng([seed, 0x0FF5E7 + k]).random() + (number + 1) * stride) % 1.0
        for k, stride in enumerate(STRIDES)
    )
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
    frame = _draw_frame(rng, scale, 2 * (152 + fat_mm) * scale[0], slices)
    phase = next(name for name, (upto, _) in _PHASES.items() if u_phase < upto)
    hu = [mean * float(1 + SPREAD * np.clip(rng.normal(), -2, 2)) for mean in _PHASES[phase][1]]
    return Patient(
        frame=frame,
        phase=phase,
        tissue=Tissue(*hu),
        female=bool(female),
        fat_mm=fat_mm,
        belly=belly,
        age=float(rng.random()),
        # healthy for the lowest fifth, then rising to almost every liver slice; the mean is about 0.38
        lesion_share=0.0 if u_lesion < 0.2 else 0.12 + 0.70 * (u_lesion - 0.2) / 0.8,
        oral_contrast=float(rng.uniform(0.4, 0.95)) if rng.random() < 0.4 else 0.0,
        noise_hu=float(np.exp(rng.uniform(np.log(6.5), np.log(17.0)))),
        sharpness=float(rng.random()),
        table=int(rng.integers(0, 4)),
    )


def _draw_frame(rng: np.random.Generator, scale: Point, width_mm: float, slices: int | None) -> SliceGeometry:
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
    n = slices or count
    step = length / n
    return SliceGeometry(
        z_mm=(bottom + step * (np.arange(n) + jitter)).astype(np.float32),
        step_mm=step,
        scale=scale,
        pixel_mm=width_mm / (SIZE * rng.uniform(0.76, 1.0)),
        thickness_mm=thickness,
        centre=((SIZE - 1) / 2 + rng.uniform(-5, 5), (SIZE - 1) / 2 - rng.uniform(-4, 14)),
    )
