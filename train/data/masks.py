"""Label maps of slices, read from their PNGs. Imports no torch."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.errors import DataError, SliceError
from lits_deploy.scans import png
from lits_deploy.scans.image import MAX_PIXELS
from train.data.layout import Sample


class LabelsError(SliceError):
    """Labels other than 0, 1, 2; the text lists the first few."""


def read_labels(path: Path) -> npt.NDArray[np.uint8]:
    """The label map of a PNG at its own size, uint8 [S, S]; SliceError (the reason) or OSError where there is none."""
    data = path.read_bytes()
    if not data.startswith(png.SIGNATURE):
        raise SliceError("the content is not a PNG" if data else "the file is empty")
    png.bit_depth(data)  # structure and checksums
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a bomb is refused by the number of its pixels, below
        try:
            with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise SliceError(f"{width}×{height} pixels: a decompression bomb?")
                if width != height:
                    raise SliceError(f"{width}×{height} pixels: not square")
                grey = picture if picture.mode in ("L", "P") else picture.convert("L")
                labels = np.asarray(grey, dtype=np.uint8)
        except (SliceError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise SliceError("more pixels than any slice has: a decompression bomb?") from error
        except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
            raise SliceError("the PNG is truncated or damaged") from error
    if labels.max() > 2:
        raise LabelsError(", ".join(str(label) for label in np.unique(labels[labels > 2])[:4]))
    return labels


def load_mask(sample: Sample, size: int) -> npt.NDArray[np.uint8]:
    """The label map uint8 [size, size] of a sample (`fitted_mask`)."""
    assert sample.mask is not None
    try:
        mask = read_labels(sample.mask)
    except LabelsError as error:
        raise DataError(f"{sample.mask} holds the label {error}.", fix="labels are 0, 1 and 2") from error
    except (SliceError, OSError) as error:
        raise DataError(f"{sample.mask} cannot be read: {error}.", fix="make the mask again") from error
    return fitted_mask(mask, size)


def fitted_mask(mask: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """A square label map as uint8 [size, size]: the largest label of each tile, else the nearest label."""
    if mask.shape[0] == size:
        return mask
    factor, rest = divmod(mask.shape[0], size)
    if rest == 0:  # the largest label of each tile, as the LiTS masks were made: small lesions survive
        tiles: npt.NDArray[np.uint8] = mask.reshape(size, factor, size, factor).max(axis=(1, 3))
        return tiles
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
