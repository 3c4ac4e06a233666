"""A mask as a PNG: a palette of background (black), liver (green) and lesion (red), pixels 0, 1 and 2, no metadata."""

from __future__ import annotations

import io

from PIL import Image

from lits_deploy.masks import Mask

PALETTE = (0, 0, 0, 0, 160, 0, 220, 0, 0)


def png_of(mask: Mask) -> bytes:
    """The bytes of a PNG whose pixels are the labels of uint8 [rows, columns]."""
    rows, columns = mask.shape
    picture = Image.frombytes("P", (columns, rows), mask.tobytes())
    picture.putpalette(PALETTE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", bits=2)
    return buffer.getvalue()
