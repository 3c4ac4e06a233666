"""Shifts planted in a series, as scanners, protocols and mistakes would make them.

Pictures hold 8 bits of a window, so HU outside it are gone: to plant a shift, what lies below it is taken for fat
(-100 HU) inside the body's outline and for air outside of it, and what lies above for bone. Phantoms have their HU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.contract import window_to_uint8

Slices = npt.NDArray[np.uint8]
Hu = npt.NDArray[np.float32]

AIR, FAT, BONE = -1000.0, -100.0, 700.0
PIXEL_MM = 1.5
"""Of a picture of 256×256 whose size nobody knows: LiTS has 0.56 to 1.0 mm at 512×512."""


@dataclass(frozen=True, kw_only=True)
class ShiftedScan:
    """A series, from the feet.

    slices: uint8 [N, S, S], as the network sees them through the window. hu: float32 [N, S, S], what they are of;
    measured: these are the scan's own and not made up. spacing_mm: distance of slices, rows and columns, or None.
    """

    slices: Slices
    hu: Hu
    window: tuple[float, float]
    measured: bool = False
    spacing_mm: tuple[float, float, float] | None = None

    @classmethod
    def of_pictures(cls, slices: Slices, window: tuple[float, float]) -> ShiftedScan:
        """Of pictures in a window."""
        from scipy import ndimage

        low, high = window
        hu = (low + slices.astype(np.float32) / 255 * (high - low)).astype(np.float32)
        for one, grey in zip(hu, slices, strict=True):
            body = ndimage.binary_fill_holes(ndimage.binary_closing(grey > 16, iterations=6))
            one[(grey == 0) & body] = FAT
            one[(grey == 0) & ~body] = AIR
            one[grey == 255] = BONE
        return cls(slices=slices, hu=hu, window=window)

    def of_hu(self, hu: Hu) -> ShiftedScan:
        """The same with these HU."""
        return replace(self, hu=hu, slices=window_to_uint8(hu, self.window))


Plant = Callable[[ShiftedScan, np.random.Generator], ShiftedScan]


def _offset(hu: float) -> Plant:
    return lambda scan, rng: scan.of_hu(scan.hu + np.float32(hu))


def _noise(sigma: float) -> Plant:
    return lambda scan, rng: scan.of_hu(scan.hu + rng.normal(0, sigma, scan.hu.shape).astype(np.float32))


def _window(low: float, high: float) -> Plant:
    """The pictures only: HU and window of the network stay."""
    return lambda scan, rng: replace(scan, slices=window_to_uint8(scan.hu, (low, high)))


def _voxels(mm: float) -> Plant:
    """A field of view that is larger by so much, in as many pixels."""

    def plant(scan: ShiftedScan, rng: np.random.Generator) -> ShiftedScan:
        size = scan.slices.shape[1]
        side = round(size * (scan.spacing_mm[1] if scan.spacing_mm else PIXEL_MM) / mm)
        grey, hu, edge = np.zeros_like(scan.slices), np.full_like(scan.hu, AIR), (size - side) // 2
        inside = slice(edge, edge + side)
        for number in range(len(grey)):
            for target, source in ((grey, scan.slices), (hu, scan.hu)):
                small = Image.fromarray(source[number]).resize((side, side), Image.Resampling.BOX)
                target[number, inside, inside] = np.asarray(small)
        spacing = None if scan.spacing_mm is None else (scan.spacing_mm[0], mm, mm)
        return replace(scan, slices=grey, hu=hu, spacing_mm=spacing)

    return plant


def _less_contrast(kept: float) -> Plant:
    """What lies between 40 and 155 HU comes nearer to 40: of the contrast medium a share is left."""

    def plant(scan: ShiftedScan, rng: np.random.Generator) -> ShiftedScan:
        hu = scan.hu
        return scan.of_hu(np.where((hu > 40) & (hu < 155), 40 + kept * (hu - 40), hu).astype(np.float32))

    return plant


def _apart(mm: float) -> Plant:
    """Every slice as it is, so far from the next one."""

    def plant(scan: ShiftedScan, rng: np.random.Generator) -> ShiftedScan:
        return scan if scan.spacing_mm is None else replace(scan, spacing_mm=(mm, *scan.spacing_mm[1:]))

    return plant


def _head(scan: ShiftedScan, rng: np.random.Generator) -> ShiftedScan:
    """A skull with a brain and ventricles in it, of another size in each patient."""
    count, size = len(scan.slices), scan.slices.shape[1]
    at = np.arange(size) - size / 2
    tall, wide = 0.37 * size * rng.uniform(0.9, 1.1), 0.29 * size * rng.uniform(0.9, 1.1)
    made = np.empty((count, size, size), np.float32)
    for number in range(count):
        round_ = np.sqrt(max(0.05, 1 - (2 * (number + 0.5) / count - 1) ** 2))
        radius = np.sqrt((at[:, None] / (tall * round_)) ** 2 + (at[None] / (wide * round_)) ** 2)
        hu = np.select([radius < 0.2, radius < 0.92, radius < 1.0, radius < 1.06], [8.0, 35.0, BONE, 40.0], AIR)
        made[number] = hu + rng.normal(0, 8, hu.shape)
    return scan.of_hu(made)


SHIFTS: dict[str, Plant] = {
    "nothing": lambda scan, rng: scan,
    "window −160…240 HU": _window(-160.0, 240.0),
    "window −45…105 HU": _window(-45.0, 105.0),
    "+60 HU": _offset(60.0),
    "+20 HU": _offset(20.0),
    "+10 HU": _offset(10.0),
    "noise of 20 HU": _noise(20.0),
    "noise of 10 HU": _noise(10.0),
    "voxels of 2.5 mm": _voxels(2.5),
    "voxels of 1.8 mm": _voxels(1.8),
    "head first": lambda scan, rng: replace(scan, slices=scan.slices[::-1], hu=scan.hu[::-1]),
    "another phase (0.4 of the contrast)": _less_contrast(0.4),
    "another phase (0.7 of the contrast)": _less_contrast(0.7),
    "head in place of trunk": _head,
}
"""What is planted, by name; the first is nothing."""

IN_MM: dict[str, Plant] = {"slices 20 mm apart": _apart(20.0)}
"""What shows only where spacing is known."""
