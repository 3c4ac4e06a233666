"""Pictures and their mask pictures as slices: the same face as `volume.Volume`, for lits-png and mask folders.

Images are decoded by the code that the edge box decodes with, at the prepared size. Their window cannot be seen; the
declared one serves to decide orientation. Liver and lesion masks are taken as "any pixel but black": the Kaggle copy
holds {0, 1}, others {0, 255}, and a test for "brighter than half" would find the former always empty.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.files import sha256_bytes
from lits_deploy.scans.image import load_slice
from train.data.labels import LabelsError, Meaning, Shown, labels_of, name_of
from train.data.masks import decoded
from train.prepare.contents import SourcePicture

T = TypeVar("T")
Labels = npt.NDArray[np.uint8]


def read_picture(
    picture: SourcePicture, contract: InputContract, meaning: Meaning | None = None
) -> tuple[npt.NDArray[np.uint8], Labels, list[str]]:
    """A slice uint8 [S, S] in the contract's size, its labels [side, side] in the file's, and the files' SHA-256.

    meaning: what the values of a label map mean (`train.data.labels`). Raises SliceError, which names the file, for
    anything that cannot be used.
    """
    data, grey = _read(picture.image, lambda data: load_slice(data, contract)[0])
    with Image.open(io.BytesIO(data)) as image:
        side = image.width
    masks = [_read(path, decoded) for path in picture.masks]
    layers = [layer for _, layer in masks]
    if any(layer.shape != (side, side) for layer in layers):
        shape = layers[0].shape
        raise SliceError(f"{picture.image.name} is {side}×{side}, its mask {shape[1]}×{shape[0]}")
    hashes = [sha256_bytes(data), *(sha256_bytes(mask) for mask, _ in masks)]
    return grey, _combined(picture, layers, meaning), hashes


def _combined(picture: SourcePicture, layers: list[Shown], meaning: Meaning | None) -> Labels:
    if len(layers) == 1:
        try:
            return labels_of(layers[0], meaning)
        except LabelsError as error:
            raise SliceError(f"{picture.masks[0].name} holds {error}") from error
    for path, layer in zip(picture.masks, layers, strict=True):
        if len(values := np.unique(layer[layer > 0])) > 1:
            few = ", ".join(map(name_of, values[:4]))
            raise SliceError(f"{path.name} holds the values {few} beside 0: not one mask")
    liver, lesion = layers
    labels: Labels = (liver > 0).astype(np.uint8)
    labels[lesion > 0] = 2
    return labels


def _read(path: Path, decode: Callable[[bytes], T]) -> tuple[bytes, T]:
    """A file's bytes, and what they are decoded to."""
    try:
        data = path.read_bytes()
        return data, decode(data)
    except SliceError as error:
        raise SliceError(f"{path.name}: {error}") from error
    except OSError as error:
        raise SliceError(f"{path.name} cannot be read ({error.strerror})") from error
