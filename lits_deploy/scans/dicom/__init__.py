"""DICOM slices: CT images in HU → the network's input, everything else excluded, with a reason that says what it is.

    header   bytes → elements, under limits         series   elements → series, geometry, HU, header gates
    pixels   pixel data → stored values             position elements → what tells slices apart and their order
    this     one after the other, frame by frame

A file that is broken raises SliceError; one that is whole but not an axial CT slice of a body is excluded. Pixels are
decoded only of frames that their header lets pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans import READING, Frame, Reading, Scan, SeriesHeader
from lits_deploy.scans.dicom.header import Pixels, parse
from lits_deploy.scans.dicom.pixels import PixelLayout, decode
from lits_deploy.scans.dicom.series import ParsedFrame, ParsedHeader, interpret
from lits_deploy.scans.hounsfield import Rescale, check_window, finish, window_text

MAX_BYTES = 640 << 20
"""A thousand uncompressed slices of 512×512 are 500 MiB."""


def read(data: bytes, contract: InputContract, *, headers_only: bool = False, reading: Reading = READING) -> Scan:
    """Understand a DICOM file (`scans.Reader`)."""
    header = parse(data)
    parsed = interpret(header, contract, reading)
    numbered = enumerate(parsed.frames)
    frames: Iterator[Frame] = (Frame(index=n, excluded=one.doubt, header=one.header) for n, one in numbered)
    if not headers_only and any(frame.doubt is None for frame in parsed.frames):
        if header.pixels is None:
            raise SliceError("a CT image without pixel data: the file is truncated", series=parsed.series)
        frames = _decoded(parsed, header.pixels, header.syntax, contract)
    return Scan(series=parsed.series, window=window_text(contract), frames=frames)


def _decoded(parsed: ParsedHeader, pixels: Pixels, syntax: str, contract: InputContract) -> Iterator[Frame]:
    assert parsed.layout is not None
    try:
        check_window(contract)
        layout = parsed.layout
        for index, (frame, stored) in enumerate(zip(parsed.frames, decode(pixels, layout, syntax), strict=True)):
            yield replace(_checked(frame, stored, layout, parsed.series, contract), index=index)
    except SliceError as error:
        raise SliceError(str(error), series=parsed.series) from error


def _checked(
    parsed: ParsedFrame, stored: npt.NDArray[Any], layout: PixelLayout, series: SeriesHeader, contract: InputContract
) -> Frame:
    frame = Frame(index=0, excluded=parsed.doubt, header=parsed.header)
    if parsed.doubt is not None or parsed.rescale is None:
        return frame
    values = _in_stored_bits(stored, layout, parsed.rescale)
    slice_, doubt = finish(values, parsed.rescale, series.geometry.reorientation, contract)
    return replace(frame, pixels=slice_, excluded=doubt, in_hu=parsed.rescale.look(values))


def _in_stored_bits(stored: npt.NDArray[Any], layout: PixelLayout, rescale: Rescale) -> npt.NDArray[Any]:
    """The values as the stored bits say; the others are cut off, and a sign is extended (PS3.5, 8.1.1).

    Whatever the other bits carry (an overlay of old, a sign that was not extended) is no part of the pixel. Padding is
    the exception: its value may be written with all allocated bits, and is compared as it is written.
    """
    spare = layout.allocated - layout.stored
    if spare == 0 or stored.dtype.itemsize * 8 != layout.allocated:
        return stored
    cut: npt.NDArray[Any] = stored.astype(layout.dtype)  # a copy, shifted where it lies
    cut <<= spare
    cut >>= spare
    if rescale.padding is None:
        return cut
    low, high = rescale.padding
    return np.where((stored >= low) & (stored <= high), stored, cut)
