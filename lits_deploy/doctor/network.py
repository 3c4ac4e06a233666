"""The network that doctor runs through every runtime: its file, slices, and the answer they must give.

`scripts/make_probe.py` makes it: what `export` makes, in small. The answer was computed by no runtime, in float64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.model_file import ModelFile

MODEL = Path(__file__).with_name("probe.onnx")
MODEL_SHA256 = "c050d0a2233590774baedb8ad21f09f58dfa7e00768128a4a80c7f2fdfd5d144"
SIZE = 32
SHAPE = (1, SIZE, SIZE)
MOST = 3
"""Largest batch: the fourth slice comes alone, a ragged batch."""

OPENED: dict[str, Any] = {"precision": "fp32", "shape": SHAPE, "max_batch": MOST}
"""What every runtime is opened with."""

EXPECTED = np.array(
    [
        (0.8231147, 0.0816405, 0.095244825),
        (0.04444078, 0.84233254, 0.1132267),
        (0.22032112, 0.09308757, 0.6865913),
        (0.3047453, 0.38174492, 0.3135098),
    ],
    dtype=np.float32,
)
"""The probabilities of the network on `slices()`, [4, 3]."""


def model_file() -> ModelFile:
    """The network's file, its hash checked; BundleError where it was altered."""
    return ModelFile.read(MODEL, MODEL_SHA256)


def slices() -> npt.NDArray[np.uint8]:
    """Four slices, uint8 [4, 1, 32, 32]: nearly black, stripes, a disc, noise."""
    y, x = np.mgrid[:SIZE, :SIZE]
    disc = 220 * ((x - 14) ** 2 + (y - 17) ** 2 < 80)
    noise = (scattered(np.arange(SIZE * SIZE), seed=6) * 256).reshape(SIZE, SIZE)
    pictures = (x % 3, 16 * (x % 16), 20 + disc, noise)
    return np.stack([picture.astype(np.uint8) for picture in pictures])[:, None]


def scattered(numbers: npt.NDArray[np.int64], *, seed: int) -> npt.NDArray[np.float64]:
    """Integers to 0…1, the same bits on every machine: multiply and shift in 32 bits (Knuth's multiplicative hash)."""
    mixed = (numbers.astype(np.uint64) + np.uint64(1 + 1000 * seed)) * np.uint64(2_654_435_761)
    mixed ^= mixed >> np.uint64(15)
    mixed = mixed * np.uint64(2_246_822_519) & np.uint64(0xFFFF_FFFF)
    return mixed.astype(np.float64) / 2.0**32
