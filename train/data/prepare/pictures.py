"""Pictures and their mask pictures as slices: the same face as `volume.Volume`, for lits-png and mask folders.

Images are decoded by the code that the edge box decodes with, at the prepared size. Their window cannot be seen; the
declared one serves to judge orientation. Liver and lesion masks are taken as "any pixel but 0": the Kaggle copy holds
{0, 1}, others {0, 255}, and a test for "brighter than half" would find the former always empty.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.files import sha256_bytes
from lits_deploy.scans.image import MAX_PIXELS, load_slice
from train.data.prepare.sources import Picture

Labels = npt.NDArray[np.uint8]


def read_picture(picture: Picture, contract: InputContract) -> tuple[npt.NDArray[np.uint8], Labels, list[str]]:
    """A slice uint8 [S, S] in the contract's size, its labels [side, side] in the file's, and the files' SHA-256.

    Raises SliceError, which names the file, for anything that cannot be used.
    """
    data = _read(picture.image)
    hashes = [sha256_bytes(data)]
    try:
        grey = load_slice(data, contract)[0]
    except SliceError as error:
        raise SliceError(f"{picture.image.name}: {error}") from error
    with Image.open(io.BytesIO(data)) as image:
        side = image.width
    layers = []
    for path in picture.masks:
        data = _read(path)
        hashes.append(sha256_bytes(data))
        layers.append(_read_mask(path.name, data))
    if any(layer.shape != (side, side) for layer in layers):
        shape = layers[0].shape
        raise SliceError(f"{picture.image.name} is {side}×{side}, its mask {shape[1]}×{shape[0]}")
    return grey, _combined(picture, layers), hashes


def _combined(picture: Picture, layers: list[Labels]) -> Labels:
    if len(layers) == 1:
        if layers[0].max() > 2:
            top = layers[0].max()
            raise SliceError(f"{picture.masks[0].name} holds the label {top}: labels are 0, 1 and 2")
        return layers[0]
    for path, layer in zip(picture.masks, layers, strict=True):
        if len(values := np.unique(layer[layer > 0])) > 1:
            raise SliceError(f"{path.name} holds the values {', '.join(map(str, values[:4]))} beside 0: not one mask")
    liver, lesion = layers
    labels: Labels = (liver > 0).astype(np.uint8)
    labels[lesion > 0] = 2
    return labels


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SliceError(f"{path.name} cannot be read ({error.strerror})") from error


def _read_mask(name: str, data: bytes) -> Labels:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a bomb is refused by the number of its pixels, below
        try:
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise SliceError(f"{name} has {image.width}×{image.height} pixels: a decompression bomb?")
                if image.mode not in ("L", "P", "1"):
                    raise SliceError(f"{name} is a mask in colour or 16 bits ({image.mode}): save it as 8-bit labels")
                return np.asarray(image, dtype=np.uint8)
        except (SliceError, MemoryError):
            raise
        except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
            raise SliceError(f"{name} is no whole PNG") from error
