"""The picture in the making: HU of every voxel, and how much of each voxel is liver.

Painting blends a tissue over what is there by the fraction of the voxel it fills. What is painted over the liver
takes the liver's voxels away; `tint` changes HU inside the liver only and takes nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from train.phantom.grid import F32, Block, PhantomGrid, stretch
from train.phantom.shapes import inside

AIR_HU, FAT_HU = -1000.0, -104.0
EVERYWHERE = (slice(None), slice(None), slice(None))


class Canvas:
    """`hu` and `liver` (fraction 0…1), both float32 [Z, 256, 256], and textures to paint with.

    grain, mottle: random textures of unit standard deviation with spots about 3 and 10 pixels wide, independent from
    slice to slice (slices lie further apart than the spots are large).
    """

    def __init__(self, grid: PhantomGrid, rng: np.random.Generator) -> None:
        self.grid = grid
        self.hu: F32 = np.full(grid.shape, AIR_HU, np.float32)
        self.liver: F32 = np.zeros(grid.shape, np.float32)
        self.edge_mm = 1.2 * grid.frame.step[2]
        self.grain, self.mottle = (
            stretch(rng.standard_normal((grid.shape[0], size, size), dtype=np.float32) * 1.5) for size in (100, 28)
        )

    def paint(
        self, block: Block, distance: F32, value: F32 | float, *, amount: float = 1.0, edge_mm: float = 0.0
    ) -> F32:
        """Blend `value` HU in where `distance` (signed mm over `block`) is negative; returns the fraction painted."""
        part = amount * inside(distance, self.grid, max(edge_mm, self.edge_mm))
        self.blend(block, part, value)
        return part

    def paint_thin(
        self, block: Block, distance: F32, value: F32 | float, *, amount: float = 1.0, take_liver: bool = True
    ) -> None:
        """Like `paint` for slender things: visits only the voxels they touch, no blur through the slice."""
        flat = np.flatnonzero(distance < self.edge_mm)
        part = amount * np.clip(0.5 - distance.ravel()[flat] / self.edge_mm, 0, 1)
        self.paint_at(block, flat, part, value.ravel()[flat] if isinstance(value, np.ndarray) else value, take_liver)

    def paint_at(
        self, block: Block, flat: npt.NDArray[np.intp], part: F32, value: F32 | float, take_liver: bool = True
    ) -> None:
        """Blend `value` HU in by `part` at `flat`, indices into `block`: float32 [voxels] each."""
        hu, liver = self.hu[block], self.liver[block]
        index = np.unravel_index(flat, hu.shape)
        old = hu[index]
        hu[index] = old + part * (value - old)
        if take_liver:
            liver[index] *= 1 - part

    def blend(self, block: Block, part: F32, value: F32 | float) -> None:
        """Blend `value` HU in by `part` (0…1) over `block`, and take `part` away from the liver."""
        self.tint(block, part, value)
        liver = self.liver[block]
        liver *= 1 - part

    def tint(self, block: Block, part: F32, value: F32 | float) -> None:
        """Blend `value` HU in by `part` over `block`; the liver stays liver."""
        hu = self.hu[block]
        hu += (value - hu) * part
