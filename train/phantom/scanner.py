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
        image += (image - blur(image, 0.25)) * np.float32(0.7 * (patient.sharpness - 0.6))
    path = _path_through_body(image)
    image -= _hardening(image)
    image += _noise(path, patient, rng)
    np.clip(image, -1024, 3071, out=image)
    return np.rint(image, out=image).astype(np.int16)


def blur(image: F32, side: float) -> F32:
    """Three-tap blur (side, 1 − 2·side, side) along rows and columns; the border keeps its value."""
    for axis in (1, 2):
        result = image * np.float32(1 - 2 * side)
        near: list[slice] = [slice(None)] * 3
        far: list[slice] = [slice(None)] * 3
        near[axis], far[axis] = slice(0, -1), slice(1, None)
        result[tuple(far)] += image[tuple(near)] * np.float32(side)
        result[tuple(near)] += image[tuple(far)] * np.float32(side)
        edge: list[slice] = [slice(None)] * 3
        for end in (slice(0, 1), slice(-1, None)):
            edge[axis] = end
            result[tuple(edge)] = image[tuple(edge)]
        image = result
    return image


def _path_through_body(image: F32) -> F32:
    """Attenuation along each row relative to a typical abdomen, float32 [Z, 256, 1]: what makes rays noisy."""
    coarse = image[:, :, ::4]
    amount = np.clip(coarse + np.float32(1000), 0, 2200).mean(axis=2, keepdims=True)
    return np.asarray(amount / np.float32(750), np.float32)


def _hardening(image: F32) -> F32:
    """Dark bands between dense bones: HU to subtract, float32 [Z, 256, 256], from a wide row-wise mean of bone."""
    bone = np.clip(image[:, ::4, ::4] - np.float32(250), 0, 700)
    row = bone.mean(axis=2, keepdims=True) * np.float32(0.16)
    tissue = (image[:, ::4, ::4] > -300).astype(np.float32)
    return stretch(np.asarray(np.broadcast_to(row, bone.shape) * tissue, np.float32))


def _noise(path: F32, patient: Patient, rng: np.random.Generator) -> F32:
    """Noise in HU: fine grain with the kernel's correlation, plus streaks along rows where rays cross much bone."""
    slices, size = path.shape[0], path.shape[1]
    fine = rng.standard_normal((slices, size, size), dtype=np.float32)
    side = 0.24 - 0.12 * patient.sharpness
    fine = blur(fine, side)
    fine *= np.float32(patient.noise_hu / (1 - 4 * side + 6 * side * side))
    streak = stretch(rng.standard_normal((slices, size, 14), dtype=np.float32))
    loud = np.clip(path, 0.25, 2.2)
    fine *= np.sqrt(loud)
    streak *= np.float32(0.55 * patient.noise_hu) * np.clip(loud - np.float32(0.75), 0, 1.2)
    fine += streak
    return fine
