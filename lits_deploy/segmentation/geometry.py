"""A mask of the network's size and orientation, put back onto its source: the inverse of what readers do to a slice.

A reader reorients a slice, adds air until it is square and resizes it (`scans.hounsfield`); a mask is enlarged to the
square by nearest neighbour, cut, and reoriented back. Its edges have the network's resolution, not the source's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lits_deploy.masks import Mask
from lits_deploy.scans.orient import REORIENTATIONS, margins, restored, unsquared


@dataclass(frozen=True, kw_only=True)
class MaskGeometry:
    """Masks of size×size on sources of rows×columns; `reorientation` is a name of `scans.orient`."""

    size: int
    rows: int
    columns: int
    reorientation: str = ""

    def onto_source(self, mask: Mask) -> Mask:
        """uint8 [size, size] → uint8 [rows, columns]: each pixel of the source has the label at its centre."""
        large = mask[self._nearest[:, np.newaxis], self._nearest]
        return np.ascontiguousarray(restored(unsquared(large, *self._reoriented), self.reorientation))

    def count(self, mask: Mask, label: int) -> int:
        """How many pixels of the source have a label at least this large, without making the source's mask."""
        down, across = self._weights
        return int(down @ (mask >= label).astype(np.int64) @ across)

    @property
    def _reoriented(self) -> tuple[int, int]:
        """Rows and columns once the source is turned."""
        return (self.columns, self.rows) if REORIENTATIONS[self.reorientation].swap else (self.rows, self.columns)

    @cached_property
    def _nearest(self) -> npt.NDArray[np.int64]:
        """For every line of the square the network's line in which its middle lies."""
        side = max(self.rows, self.columns)
        return (2 * np.arange(side, dtype=np.int64) + 1) * self.size // (2 * side)

    @cached_property
    def _weights(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """How many rows and columns of the picture each row and column of the network stands for."""
        rows, columns = self._reoriented
        top, _, left, _ = margins(rows, columns)
        lines = self._nearest[top : top + rows], self._nearest[left : left + columns]
        down, across = (np.bincount(part, minlength=self.size) for part in lines)
        return down, across
