"""Of a picture only its size: it has nothing else that a mask needs."""

from __future__ import annotations

import io
import warnings

from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans import READING, Reading, Scan
from lits_deploy.scans.image import MAX_BYTES as MAX_BYTES
from lits_deploy.segmentation.headers import header_scan


def read(data: bytes, contract: InputContract, *, headers_only: bool = False, reading: Reading = READING) -> Scan:
    """Rows and columns of a PNG or JPEG; no header."""
    with warnings.catch_warnings():  # of this process: read in one thread of it
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
                columns, rows = picture.size
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises nearly anything on hostile bytes
            raise SliceError("the picture's header is damaged") from error
    return header_scan("picture", rows, columns, b"")
