"""PNG and JPEG slices: 8-bit grey pictures in, uint8 [1, S, S] out, anything doubtful refused with its reason.

A picture carries no HU, so its intensity window cannot be checked, and every row says so. EXIF orientation,
colour profiles and gamma are never applied: a picture that asks to be turned is refused, profile and gamma are
ignored. A JPEG whose pixel data was altered without breaking its structure cannot be told from a whole one.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans import READING, Frame, Reading, Scan, Slice, png
from lits_deploy.scans.gates import grey_doubt, size_doubt
from lits_deploy.scans.neighbours import check_alone

MAX_BYTES = 256 << 20
"""64 megapixels with four channels, uncompressed."""

MAX_PIXELS = 64_000_000
"""Pixels of the largest picture decoded: no CT slice comes near, a decompression bomb goes far beyond."""

MAX_SPREAD, MAX_MEAN_SPREAD = 16, 2.0
"""How far the channels of a grey picture may lie apart, in grey levels, at any pixel and on average.

Grey saved as colour JPEG comes back with 0 to 4 levels at single pixels and at most 0.1 on average (measured on LiTS
slices, quality 30 to 95). The smallest coloured annotation lies 60 levels and more apart, a colour map over 80.
"""

_MODES = {"L", "1", "P", "PA", "LA", "RGB", "RGBA", "RGBX"}
_DEEP = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_EXIF_CARRIERS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_ORIENTATION = 0x0112


def load_slice(source: Path | bytes, contract: InputContract) -> Slice:
    """The one slice of a PNG or JPEG, as the network's input: uint8 [1, S, S].

    source: a file or its bytes. Raises SliceError (the reason, without the path) and OSError (no such file).
    """
    return _decode(source if isinstance(source, bytes) else source.read_bytes(), contract)


def read(data: bytes, contract: InputContract, *, headers_only: bool = False, reading: Reading = READING) -> Scan:
    """The one slice of a PNG or JPEG (`scans.Reader`); empty pictures and masks are excluded (`scans.gates`)."""
    return Scan(series=None, window="unverified", frames=_frames(data, contract, headers_only))


def _frames(data: bytes, contract: InputContract, headers_only: bool) -> Iterator[Frame]:
    if headers_only:
        with _checked(data, contract):
            pass
        yield Frame(index=0)
        return
    yield gated(_decode(data, contract))


_DEEP_REASON = "16 bits a pixel: window it to 8 bits (HU low → 0, HU high → 255) as the network's contract says"


def _decode(data: bytes, contract: InputContract) -> Slice:
    with _checked(data, contract) as image:
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise nearly anything on hostile bytes
            raise SliceError(f"the {image.format} is truncated or damaged") from error
        _check_orientation(image)
        return np.asarray(resized(_grey(image), contract), dtype=np.uint8)[np.newaxis]


@contextmanager
def _checked(data: bytes, contract: InputContract) -> Iterator[Image.Image]:
    """The picture, opened and not decoded, once its header shows nothing that must be refused."""
    check_alone(contract)
    if not data:
        raise SliceError("the file is empty")
    is_png = data.startswith(png.SIGNATURE)
    if is_png and png.bit_depth(data) == 16:
        raise SliceError(_DEEP_REASON)
    with warnings.catch_warnings():  # of this process: decode in one thread of it
        warnings.simplefilter("ignore")  # Pillow's remarks about what is checked here
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _open(data, is_png) as image:
            _check_header(image, contract)
            yield image


def _open(data: bytes, is_png: bool) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SliceError(f"more than {MAX_PIXELS // 1_000_000} megapixels: a decompression bomb?") from error
    except UnidentifiedImageError as error:
        if is_png or data.startswith(b"\xff\xd8"):
            kind = "PNG" if is_png else "JPEG"
            raise SliceError(f"a {kind} with a damaged header or of an unsupported kind") from error
        raise SliceError("the content is neither PNG nor JPEG") from error
    except Exception as error:
        raise SliceError("a PNG or JPEG with a damaged header") from error


def _check_header(image: Image.Image, contract: InputContract) -> None:
    """Refuse what the header gives away, before a pixel is decoded."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise SliceError(f"{width}×{height} pixels: a decompression bomb?")
    if getattr(image, "n_frames", 1) > 1:
        raise SliceError("the file holds several pictures, not one slice")
    if image.mode in _DEEP:
        raise SliceError(_DEEP_REASON)
    if image.mode not in _MODES:
        raise SliceError(f"colour ({image.mode}), not grey")
    if width != height:
        raise SliceError(f"{width}×{height} pixels: not square")
    if (doubt := size_doubt(width, contract)) is not None:
        raise SliceError(doubt)


def _check_orientation(image: Image.Image) -> None:
    if not any(key in image.info for key in _EXIF_CARRIERS):
        return
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:  # unreadable EXIF turns nothing
        return
    if orientation not in (0, 1):
        raise SliceError("EXIF asks to turn or mirror the picture: save it with its pixels turned")


def _grey(image: Image.Image) -> Image.Image:
    """The picture as mode L, its values unchanged where it was grey already."""
    if image.mode in ("L", "1") and "transparency" not in image.info:
        return image.convert("L")
    rgba = image.convert("RGBA")
    pixels = np.asarray(rgba)
    if pixels[..., 3].min() < 255:
        raise SliceError("transparent pixels")
    colour = pixels[..., :3]
    spread = colour.max(axis=2) - colour.min(axis=2)
    if spread.max() > MAX_SPREAD or spread.mean() > MAX_MEAN_SPREAD:
        raise SliceError("colour, not grey")
    return rgba.convert("L")  # luma, which leaves equal channels as they are


def gated(pixels: Slice, index: int = 0) -> Frame:
    """The frame of a picture uint8 [1, S, S] as the network takes it, excluded where it is no CT slice (`gates`)."""
    doubt = grey_doubt(pixels[0])
    return Frame(index=index, pixels=None if doubt else pixels, excluded=doubt)


def fitted(pixels: npt.NDArray[np.uint8], contract: InputContract) -> Slice:
    """A square slice uint8 [S, S] as the network takes it: uint8 [1, size, size]."""
    grey = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(resized(grey, contract), dtype=np.uint8)[np.newaxis]


def resized(grey: Image.Image, contract: InputContract) -> Image.Image:
    """A square picture of mode L in the contract's size, by its kernel; one of that size as it is."""
    side, size = grey.width, contract.size
    if side == size:
        return grey
    if contract.resize == "bilinear":
        return grey.resize((size, size), Image.Resampling.BILINEAR)
    if side % size == 0:
        return grey.reduce(side // size)  # the exact area mean, 512 → 256 as the 2×2 mean
    return grey.resize((size, size), Image.Resampling.BOX)
