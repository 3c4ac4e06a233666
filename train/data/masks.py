"""Label maps of slices, read from their PNGs. Imports no torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from lits_deploy.errors import DataError
from train.data.layout import Sample


def load_mask(sample: Sample, size: int) -> npt.NDArray[np.uint8]:
    """The label map uint8 [size, size] of a sample; other square sizes are resized to the nearest label."""
    assert sample.mask is not None
    try:
        with Image.open(sample.mask) as picture:
            mask = np.asarray(picture if picture.mode in ("L", "P") else picture.convert("L"), dtype=np.uint8)
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{sample.mask} cannot be read as a PNG.", fix="make the mask again") from error
    if mask.max() > 2:
        raise DataError(f"{sample.mask} holds the label {mask.max()}.", fix="labels are 0, 1 and 2")
    if mask.shape[0] != mask.shape[1]:
        raise DataError(f"{sample.mask} is {mask.shape[1]}×{mask.shape[0]}, not square.", fix="crop or pad the slices")
    if mask.shape[0] == size:
        return mask
    factor, rest = divmod(mask.shape[0], size)
    if rest == 0:  # the largest label of each tile, as the LiTS masks were made: small lesions survive
        tiles: npt.NDArray[np.uint8] = mask.reshape(size, factor, size, factor).max(axis=(1, 3))
        return tiles
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
