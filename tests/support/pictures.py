"""Pictures for tests, good and hostile, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, Any]


def grey_pixels(size: int = 64, seed: int = 0) -> Pixels:
    """A smooth grey picture, uint8 [size, size], so that JPEG keeps it well."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4), dtype=np.uint8))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def encoded(pixels: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a picture file; its mode follows from the array's shape and dtype."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def save(path: Path, pixels: Pixels, **options: Any) -> Path:
    """Write a picture; the kind follows from the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels, "PNG" if path.suffix == ".png" else "JPEG", **options))
    return path


def folder_of_slices(folder: Path, count: int, *, size: int = 64) -> Path:
    """`count` different slices, PNG and JPEG, in two folders below `folder`."""
    for number in range(count):
        suffix = ".png" if number % 2 else ".jpg"
        save(folder / f"study-{number % 2}" / f"slice-{number:04d}{suffix}", grey_pixels(size, number))
    return folder


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG with a right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, *, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG that promises width × height pixels and holds next to none: a decompression bomb's fuse."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
