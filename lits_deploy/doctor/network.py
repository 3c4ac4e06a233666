"""The network that doctor runs through every runtime, as numbers: weights, slices, and the answer they must give.

It is what `export` makes, in small: uint8 [N, 1, 32, 32] → cast → centre crop 28 → scale → two convolutions → mean →
matrix → `logits`, softmax → `probabilities`. `scripts/make_probe.py` writes it as probe.onnx. The weights come from an
integer formula, so that they are the same bits on every machine, and the answer is computed here in float64, by no
runtime. Knows nothing about ONNX.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lits_deploy.model_file import ModelFile

MODEL = Path(__file__).with_name("probe.onnx")
MODEL_SHA256 = "c050d0a2233590774baedb8ad21f09f58dfa7e00768128a4a80c7f2fdfd5d144"
SIZE, CROP, SCALE = 32, 28, np.float32(1.0 / 255.0)
SHAPE = (1, SIZE, SIZE)
MOST = 3
"""Largest batch: the fourth slice comes alone, a ragged batch."""

Array = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]


def model_file() -> ModelFile:
    """The network's file, its hash checked; BundleError where it was altered."""
    return ModelFile.read(MODEL, MODEL_SHA256)


def weights() -> dict[str, Array]:
    """Weights and biases, float32: conv1 [8, 1, 3, 3], conv2 [16, 8, 3, 3] (both stride 2), gemm [3, 16]."""
    return {
        "conv1": _spread((8, 1, 3, 3), seed=1, reach=0.8),
        "bias1": _spread((8,), seed=2, reach=0.2),
        "conv2": _spread((16, 8, 3, 3), seed=3, reach=0.5),
        "bias2": _spread((16,), seed=4, reach=0.2),
        "gemm": _spread((3, 16), seed=23, reach=12.0),
        "bias3": np.array([5.43, 0.27, -5.7], dtype=np.float32),
    }


def slices() -> npt.NDArray[np.uint8]:
    """Four slices, uint8 [4, 1, 32, 32]: nearly black, stripes, a disc, noise."""
    y, x = np.mgrid[:SIZE, :SIZE]
    disc = 220 * ((x - 14) ** 2 + (y - 17) ** 2 < 80)
    noise = (_hash(np.arange(SIZE * SIZE), seed=6) * 256).reshape(SIZE, SIZE)
    pictures = (x % 3, 16 * (x % 16), 20 + disc, noise)
    return np.stack([picture.astype(np.uint8) for picture in pictures])[:, None]


def expected() -> Array:
    """The probabilities of the network on `slices()`, float32 [4, 3], computed in float64."""
    w = {name: values.astype(np.float64) for name, values in weights().items()}
    start = (SIZE - CROP) // 2
    x = slices()[:, :, start : start + CROP, start : start + CROP] * np.float64(SCALE)
    x = np.maximum(_convolve(x, w["conv1"], w["bias1"]), 0.0)
    x = np.maximum(_convolve(x, w["conv2"], w["bias2"]), 0.0)
    logits = x.mean(axis=(2, 3)) @ w["gemm"].T + w["bias3"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


def _convolve(x: Wide, kernel: Wide, bias: Wide) -> Wide:
    """3×3 kernels, stride 2, no padding."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    summed: Wide = np.einsum("nchwij,kcij->nkhw", windows, kernel) + bias[:, None, None]
    return summed


def _spread(shape: tuple[int, ...], *, seed: int, reach: float) -> Array:
    """Numbers in −reach…reach that look random."""
    values = _hash(np.arange(int(np.prod(shape))), seed=seed)
    return ((values - 0.5) * 2 * reach).astype(np.float32).reshape(shape)


def _hash(numbers: npt.NDArray[np.int64], *, seed: int) -> Wide:
    """Integers to 0…1: one round of multiply and shift in 32 bits (Knuth's multiplicative hash)."""
    mixed = (numbers.astype(np.uint64) + np.uint64(1 + 1000 * seed)) * np.uint64(2_654_435_761)
    mixed ^= mixed >> np.uint64(15)
    mixed = mixed * np.uint64(2_246_822_519) & np.uint64(0xFFFF_FFFF)
    return mixed.astype(np.float64) / 2.0**32
