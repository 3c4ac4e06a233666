"""Random numbers without a state: a function of (seed, epoch, index), for a whole batch at once.

A slice's augmentation must not depend on batch, worker, process or on what was drawn before, so that resumed and
distributed runs equal undisturbed ones. Seeding a generator for each slice would do it too, but costs more than the
augmentation itself on a GPU.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_STEP = np.uint64(0x9E3779B97F4A7C15)


def draws(seed: int, epoch: int, indices: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.float64]:
    """Uniform numbers in [0, 1), float64 [N, count]: row n depends on (seed, epoch, indices[n]) only.

    SplitMix64 (Steele, Lea and Flood 2014): a counter through its finaliser, one round for each part of the key.
    """
    state = np.zeros((len(indices), 1), np.uint64)
    for part in (np.uint64(seed), np.uint64(epoch), indices.astype(np.uint64)[:, None]):
        state = _mix(state + _STEP + part)
    bits = _mix(state + np.arange(1, count + 1, dtype=np.uint64) * _STEP)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
