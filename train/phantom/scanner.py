"""From anatomy to a CT image: blur of kernel and detector, beam hardening, correlated and streaky noise, 16-bit HU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from train.phantom.canvas import Canvas
from train.phantom.grid import F32, stretch
from train.phantom.patient import Patient


def scan(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Turn `canvas.hu` into the scanner's image, int16 HU [Z, 256, 256]."""
    image = blur(canvas.hu, 0.20 - 0.10 * patient.sharpness)
    if patient.sharpness > 0.6:
        image += (image - blur(image, 0.25)) * (0.7 * (patient.sharpness - 0.6))
    # Attenuation along each row relative to a typical abdomen: what makes rays noisy.
    path = np.clip(image[:, :, ::4] + 1000, 0, 2200).mean(axis=2, keepdims=True) / 750
    image -= _hardening(image)
    image += _noise(path, patient, rng)
    np.clip(image, -1024, 3071, out=image)
    return np.rint(image, out=image).astype(np.int16)


def blur(image: F32, side: float) -> F32:
    """Three-tap blur (side, 1 − 2·side, side) along rows and columns; the border keeps its value."""
    for axis in (1, 2):
        result = image * (1 - 2 * side)
        old, new = np.moveaxis(image, axis, 0), np.moveaxis(result, axis, 0)
        new[1:] += old[:-1] * side
        new[:-1] += old[1:] * side
        new[0], new[-1] = old[0], old[-1]
        image = result
    return image


def _hardening(image: F32) -> F32:
    """Dark bands between dense bones: HU to subtract, float32 [Z, 256, 256], from a wide row-wise mean of bone."""
    bone = np.clip(image[:, ::4, ::4] - 250, 0, 700).mean(axis=2, keepdims=True)
    return stretch(bone * np.float32(0.16) * (image[:, ::4, ::4] > -300))


def _noise(path: F32, patient: Patient, rng: np.random.Generator) -> F32:
    """Noise in HU: fine grain with the kernel's correlation, plus streaks along rows where rays cross much bone."""
    slices, size = path.shape[0], path.shape[1]
    side = 0.24 - 0.12 * patient.sharpness
    loud = np.clip(path, 0.25, 2.2)
    fine = blur(rng.standard_normal((slices, size, size), dtype=np.float32), side)
    fine *= np.sqrt(loud) * (patient.noise_hu / (1 - 4 * side + 6 * side * side))
    streak = stretch(rng.standard_normal((slices, size, 14), dtype=np.float32))
    streak *= 0.55 * patient.noise_hu * np.clip(loud - 0.75, 0, 1.2)
    fine += streak
    return fine
