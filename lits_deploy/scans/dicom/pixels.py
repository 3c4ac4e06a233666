"""Frames of pixel data as stored values, int16 or the like [rows, columns], one after the other.

Uncompressed frames are views of the file's bytes. Compressed ones go to the decoders that pydicom knows and that are
permissively licensed: GDCM (JPEG, JPEG lossless, JPEG-LS), OpenJPEG (JPEG 2000, HTJ2K), pydicom itself (RLE). Lossy
JPEG of 12 bits, which pydicom gives to none of them, goes to GDCM directly. Before a decoder is let loose, the size in
the codestream must be that of the header: a decoder allocates by the codestream. pyjpegls is not used: a truncated
JPEG-LS frame of 128×128 kept it busy for nine seconds (1.5.1), and GDCM for a hundredth of one.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from lits_deploy.errors import SliceError
from lits_deploy.scans.dicom.header import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, Pixels, quiet, tag

try:
    import gdcm
except ImportError:  # without it all but JPEG is read
    gdcm = None
else:  # it writes to the terminal by itself
    gdcm.Trace.DebugOff()
    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()

NATIVE = frozenset({IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED})
_JPEG = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"
JPEG_12_BIT = frozenset({_JPEG + "51", _JPEG + "53", _JPEG + "55"})
JPEG = frozenset({_JPEG + "50", _JPEG + "57", _JPEG + "70"}) | JPEG_12_BIT
JPEG_LS = frozenset({_JPEG + "80", _JPEG + "81"})
JPEG_2000 = frozenset({_JPEG + "90", _JPEG + "91", _JPEG + "201", _JPEG + "202", _JPEG + "203"})
READ = NATIVE | JPEG | JPEG_LS | JPEG_2000 | {RLE}
"""Transfer syntaxes that are read."""

_PLUGIN = dict.fromkeys(JPEG | JPEG_LS, "gdcm") | dict.fromkeys(JPEG_2000, "pylibjpeg") | {RLE: "pydicom"}
_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}  # SOF0…15 and JPEG-LS's
_BARE_MARKERS = frozenset(range(0xD0, 0xD9)) | {0x01}


@dataclass(frozen=True, kw_only=True)
class PixelLayout:
    """How stored values lie in the pixel data; one sample a pixel, and the highest bit is stored - 1."""

    frames: int
    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a stored value in this machine's byte order."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.allocated // 8}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of an uncompressed frame."""
        return self.rows * self.columns * self.allocated // 8


def check_length(pixels: Pixels, layout: PixelLayout, syntax: str) -> None:
    """Raise SliceError where the file cannot hold as many frames as it claims, before anything is made of the claim."""
    there = len(pixels.data) - pixels.start
    if syntax in NATIVE:
        if pixels.length is None:
            raise SliceError("pixel data of undefined length in an uncompressed transfer syntax")
        if min(there, pixels.length) < layout.frames * layout.frame_bytes:
            raise SliceError("the pixel data are truncated")
    elif there < 8 * (layout.frames + 1):  # an item header for every frame and for the offset table
        raise SliceError("the pixel data are truncated")


def decode(pixels: Pixels, layout: PixelLayout, syntax: str) -> Iterator[npt.NDArray[Any]]:
    """Yield the frames in order; bits beyond the stored ones are left as they are. Raises SliceError."""
    if syntax not in READ:
        raise SliceError(f"its compression is not read ({syntax_name(syntax)})")
    if syntax in NATIVE:
        yield from _native(pixels, layout, big=syntax == BIG_ENDIAN)
        return
    count = 0
    for encoded in _encoded(pixels, layout):
        if count == layout.frames:
            return
        yield _decoded(encoded, layout, syntax)
        count += 1
    if count < layout.frames:
        raise SliceError("the pixel data are truncated")


def syntax_name(syntax: str) -> str:
    """The standard's name of a transfer syntax; nothing that a file made up."""
    name = UID(syntax, validation_mode=0).name
    return name if name != syntax else "a transfer syntax that the standard does not know"


def _native(pixels: Pixels, layout: PixelLayout, *, big: bool) -> Iterator[npt.NDArray[Any]]:
    dtype = layout.dtype.newbyteorder(">" if big else "<")
    for index in range(layout.frames):
        start = pixels.start + index * layout.frame_bytes
        values = np.frombuffer(pixels.data, dtype, layout.rows * layout.columns, start)
        yield values.reshape(layout.rows, layout.columns)


def _encoded(pixels: Pixels, layout: PixelLayout) -> Iterator[bytes]:
    """The bytes of each frame, out of their fragments."""
    stream = io.BytesIO(pixels.data)
    stream.seek(pixels.start)
    with quiet():
        frames = iter(generate_frames(stream, number_of_frames=layout.frames))
    while True:
        with quiet():  # not around the yield: another reader's warnings are not ours to silence
            try:
                encoded = next(frames, None)
            except MemoryError:
                raise
            except Exception as error:
                raise SliceError("the compressed pixel data are damaged") from error
        if encoded is None:
            return
        yield encoded


def _decoded(encoded: bytes, layout: PixelLayout, syntax: str) -> npt.NDArray[Any]:
    if syntax == RLE:
        if len(encoded) > 2 * layout.frame_bytes + 1024:
            raise SliceError("the compressed pixel data are larger than the picture")
    elif _codestream_size(encoded) != (layout.rows, layout.columns):
        raise SliceError("the compressed picture is damaged or has another size than the header says")
    with quiet("error" if syntax == RLE else "ignore"):  # a picture of another size is but a warning there
        try:
            by = _by_gdcm if syntax in JPEG_12_BIT else _by_pydicom
            frame = by(encoded, layout, syntax)
        except (MemoryError, SliceError):
            raise
        except ImportError as error:
            raise SliceError(f"the decoder for {syntax_name(syntax)} is not installed") from error
        except Exception as error:
            raise SliceError(f"the compressed pixel data cannot be decoded ({syntax_name(syntax)})") from error
    if frame.shape != (layout.rows, layout.columns):
        raise SliceError("the compressed picture has another size than the header says")
    return frame


def _by_pydicom(encoded: bytes, layout: PixelLayout, syntax: str) -> npt.NDArray[Any]:
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
    }
    decoder = get_decoder(syntax)
    plugin = _PLUGIN[syntax]
    if plugin not in decoder.available_plugins:
        raise ImportError(plugin)
    frame, _ = decoder.as_array(
        encapsulate([encoded], has_bot=False), index=0, raw=True, decoding_plugin=plugin, **options
    )
    return frame


def _by_gdcm(encoded: bytes, layout: PixelLayout, syntax: str) -> npt.NDArray[np.uint16]:
    """A lossy JPEG frame of 12 bits. GDCM hands out text: every byte that is none is a surrogate."""
    if gdcm is None:
        raise ImportError("gdcm")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(encoded)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(int(tag("PixelData"))))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(1, layout.allocated, layout.stored, layout.stored - 1, int(layout.signed)))
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), layout.dtype)
    if values.size != layout.rows * layout.columns:
        raise SliceError("the compressed pixel data are damaged")
    return values.reshape(layout.rows, layout.columns)


def _codestream_size(encoded: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 codestream announces to its decoder; None where it does not."""
    if encoded[:2] == b"\xff\xd8":
        return _jpeg_size(encoded)
    start = encoded.find(b"\xff\x4f\xff\x51", 0, 4096)  # SOC and SIZ, behind boxes if it is a JP2 file
    if start < 0 or start + 24 > len(encoded):
        return None
    right, bottom, left, top = struct.unpack_from(">4I", encoded, start + 8)
    return bottom - top, right - left


def _jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(encoded):
        if encoded[at] != 0xFF:
            return None
        marker = encoded[at + 1]
        if marker == 0xFF or marker in _BARE_MARKERS:  # a fill byte; a marker without a segment
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _SIZE_MARKERS:
            rows, columns = struct.unpack_from(">HH", encoded, at + 5)
            return rows, columns
        at += 2 + struct.unpack_from(">H", encoded, at + 2)[0]
    return None
