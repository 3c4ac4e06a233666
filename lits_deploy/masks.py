"""Masks as bytes: labels of a slice, uint8 [S, S], packed for the ledger. A liver takes about 1 kB."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]


def packed(mask: Mask) -> bytes:
    """The mask's bytes, compressed; equal masks give equal bytes on one machine."""
    return zlib.compress(np.ascontiguousarray(mask, dtype=np.uint8).tobytes(), 6)


def unpacked(data: bytes, size: int) -> Mask:
    """The mask uint8 [size, size] that `packed` packed."""
    return np.frombuffer(zlib.decompress(data), dtype=np.uint8).reshape(size, size)
