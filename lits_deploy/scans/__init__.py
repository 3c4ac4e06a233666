"""Files in, slices out: which files of a folder are scans, and one reader module per kind of file.

A reader is a module with

    WINDOW      what results say of the intensity window: "unverified" where a file carries no HU
    MAX_BYTES   a file larger than this is refused unread
    read(data, contract) -> Iterator[uint8 [C, S, S]]
                the slices of one file's bytes, in order; a generator, so that one file may hold many.
                Raises SliceError, whose text is the reason written to the file's row: no path, no metadata.

Readers are imported by name in the decode workers, never here. DICOM and NIfTI join by a line in READERS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract

Slice = npt.NDArray[np.uint8]

READERS: Mapping[str, str] = {
    ".png": "lits_deploy.scans.image",
    ".jpg": "lits_deploy.scans.image",
    ".jpeg": "lits_deploy.scans.image",
    ".jpe": "lits_deploy.scans.image",
}
"""Suffix in lower case → module that reads such files."""


class Reader(Protocol):
    """What a reader module offers (a module satisfies a protocol)."""

    WINDOW: str
    MAX_BYTES: int

    def read(self, data: bytes, contract: InputContract) -> Iterator[Slice]:
        """Yield the slices of one file, uint8 [C, S, S] each; SliceError where it cannot be used."""
        ...
