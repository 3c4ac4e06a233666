"""From a slice's stored values to what the network takes: HU → gates → window → 8 bit → reorient → square → size.

That is the contract's order, and training's (`train.prepare.convert`). Integers of up to 16 bits go through a
table, which gives what computing pixel by pixel gives. Knows nothing about file formats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.contract import InputContract, in_hu, window_to_uint8
from lits_deploy.errors import SliceError
from lits_deploy.scans import Slice
from lits_deploy.scans.appearance import Numbers, of_hu
from lits_deploy.scans.gates import hu_doubt, sample
from lits_deploy.scans.image import resized
from lits_deploy.scans.neighbours import check_alone
from lits_deploy.scans.orient import reoriented, squared

AIR_HU = -1024.0
"""What padding and what is not a number are taken for."""

MOST_HU = 1e6
"""Infinite values are clipped to this, and float32 stays exact enough."""


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """HU = stored · slope + intercept; stored values from padding[0] to padding[1] lie outside the scan and are air."""

    slope: float = 1.0
    intercept: float = 0.0
    padding: tuple[float, float] | None = None

    def hu(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The values in HU, float32 of the same shape."""
        hu = (stored.astype(np.float64) * self.slope + self.intercept).astype(np.float32)
        if stored.dtype.kind == "f":
            hu = np.nan_to_num(hu, nan=AIR_HU, posinf=MOST_HU, neginf=-MOST_HU)
        if self.padding is not None:
            hu[(stored >= self.padding[0]) & (stored <= self.padding[1])] = AIR_HU
        return hu

    def look(self, stored: npt.NDArray[Any]) -> Callable[[], Numbers]:
        """What gives the numbers of a slice [rows, columns] in HU (`scans.appearance`)."""
        return partial(of_hu, stored, self.hu)


def check_window(contract: InputContract) -> tuple[float, float]:
    """The contract's window in HU. Raises SliceError where there is none."""
    if contract.window_hu is None:
        raise SliceError(
            "the network's window in HU is not known (train with --window LOW HIGH): only pictures are read"
        )
    return contract.window_hu


def window_text(contract: InputContract) -> str:
    """What results say of the window of a file in HU."""
    return "unknown" if contract.window_hu is None else in_hu(contract.window_hu)


def finish(
    stored: npt.NDArray[Any], rescale: Rescale, reorientation: str, contract: InputContract
) -> tuple[Slice | None, str | None]:
    """A slice [rows, columns] of stored values as uint8 [1, S, S], or None and why it is excluded.

    reorientation: that it needs, a name of `scans.orient`. Raises SliceError where the contract names no window.
    """
    window = check_window(contract)
    check_alone(contract)
    if (doubt := hu_doubt(rescale.hu(sample(stored)))) is not None:
        return None, doubt
    grey = windowed(stored, rescale, window)
    air = int(window_to_uint8(np.array([AIR_HU]), window)[0])
    square = np.ascontiguousarray(squared(reoriented(grey, reorientation), air))
    return np.asarray(resized(Image.fromarray(square), contract), dtype=np.uint8)[np.newaxis], None


def windowed(stored: npt.NDArray[Any], rescale: Rescale, window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Stored values of any shape and dtype as uint8 through a window in HU."""
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2:
        return window_to_uint8(rescale.hu(stored), window)
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    table = _table(native.dtype.str, rescale, window)
    codes = np.ascontiguousarray(native).view(f"u{native.dtype.itemsize}")
    return np.take(table, codes, mode="wrap")  # none lies outside; looking whether one does takes an eighth longer


@lru_cache(maxsize=8)
def _table(dtype: str, rescale: Rescale, window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """The grey of every value of a dtype, by its bits read as an unsigned number."""
    width = np.dtype(dtype).itemsize
    values = np.arange(256**width, dtype=np.uint32).astype(f"u{width}").view(dtype)
    return window_to_uint8(rescale.hu(values), window)
