"""Of a NIfTI file the fixed part of its header, 348 or 540 bytes; extensions and voxels stay where they are."""

from __future__ import annotations

import gzip
import io
from typing import BinaryIO

from lits_deploy.contract import InputContract
from lits_deploy.scans import READING, Reading, Scan
from lits_deploy.scans.nifti import MAX_BYTES as MAX_BYTES
from lits_deploy.scans.nifti import volume_of
from lits_deploy.segmentation.headers import header_scan


def read(data: bytes, contract: InputContract, *, headers_only: bool = False, reading: Reading = READING) -> Scan:
    """The header's bytes. Raises SliceError as `scans.nifti.read`."""
    packed = data.startswith(b"\x1f\x8b")
    stream: BinaryIO = gzip.GzipFile(fileobj=io.BytesIO(data)) if packed else io.BytesIO(data)  # type: ignore[assignment]
    volume, block = volume_of(stream, reading)
    return header_scan("nifti", *volume.matrix, block)
