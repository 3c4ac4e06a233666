"""Label maps of slices, read from their PNGs, and the classes that follow from them. Imports no torch.

A slice's class follows from its mask as it is stored (`class_of`), never by one that was resized: it does not depend on
the size that a network takes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.errors import DataError, SliceError
from lits_deploy.scans import png
from lits_deploy.scans.image import MAX_PIXELS
from train.data.labels import LabelsError, Shown, labels_of, shown
from train.data.layout import Sample


def read_labels(path: Path) -> npt.NDArray[np.uint8]:
    """The label map of a PNG at its own size, uint8 [S, S]; SliceError (the reason) or OSError where there is none.

    LabelsError: what it shows are no labels.
    """
    return labels_of(decoded(path.read_bytes()))


def decoded(data: bytes) -> Shown:
    """What the pixels of a square PNG show, uint32 [S, S] (`train.data.labels`); SliceError says why it cannot."""
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
                return shown(picture)
        except (SliceError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise SliceError("more pixels than any slice has: a decompression bomb?") from error
        except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
            raise SliceError("the PNG is truncated or damaged") from error


class Labelled(NamedTuple):
    """What is known of a slice: its class 0, 1, 2, and its label map uint8 [size, size], None without a mask."""

    target: int
    mask: npt.NDArray[np.uint8] | None


def load_labelled(sample: Sample, size: int) -> Labelled:
    """Class and fitted label map of a sample; DataError, naming the fix, where its mask cannot be used."""
    if sample.mask is None:
        return Labelled(int(sample.target or 0), None)
    mask = _load(sample.mask)
    return Labelled(class_of(mask), fitted_mask(mask, size))


def load_class(sample: Sample) -> int:
    """The class 0, 1, 2 of a sample; DataError as `load_labelled`."""
    return int(sample.target or 0) if sample.mask is None else class_of(_load(sample.mask))


def class_of(mask: npt.NDArray[np.uint8]) -> int:
    """The class of a slice: the largest label of its mask, which is as it was stored."""
    return int(mask.max())


def load_mask(sample: Sample, size: int) -> npt.NDArray[np.uint8]:
    """The label map uint8 [size, size] of a sample that has a mask (`fitted_mask`); DataError as `load_labelled`."""
    assert sample.mask is not None
    return fitted_mask(_load(sample.mask), size)


def _load(path: Path) -> npt.NDArray[np.uint8]:
    try:
        return read_labels(path)
    except LabelsError as error:
        raise DataError(f"{path} holds {error.what}.", fix=error.fix) from error
    except (SliceError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}.", fix="make the mask again") from error


def fitted_mask(mask: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """A square label map as uint8 [size, size]: the largest label under each pixel; of a smaller one the nearest.

    So no lesion is lost, whatever the size, and an enlarged one does not grow.
    """
    if mask.shape[0] < size:
        return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))
    return largest_label(mask, size)


def largest_label(labels: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Square labels as [size, size]: the largest label among the pixels that each new one covers, in whole or part.

    So a small lesion survives; 512 → 256 is the 2×2 maximum that the LiTS masks were made with.
    """
    side = len(labels)
    if side == size:
        return np.ascontiguousarray(labels)
    for _ in range(2):  # rows, then columns
        labels = np.stack([part.max(axis=0) for part in _covered(labels, side, size)]).T
    return np.ascontiguousarray(labels)


def _covered(labels: npt.NDArray[np.uint8], side: int, size: int) -> Iterator[npt.NDArray[np.uint8]]:
    for index in range(size):
        yield labels[index * side // size : -(-(index + 1) * side // size)]
