"""Files in, slices out: which files of a folder are scans, and one reader module per kind of file.

    discover    the files below some roots, and inside their zips, with their kind (`kinds`)
    readers     picture (`image`), `dicom`, `nifti`: bytes → Scan, in the decode workers, imported there by name
    Series      what a file's header says of the series it belongs to; Frame: one slice of it

A reader never sees a path, and nothing it says of identifiers is written by anybody unless the user asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.errors import UserError

Slice = npt.NDArray[np.uint8]
"""A slice as the network takes it: uint8 [C, S, S]."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """What a header says of the series a file belongs to: a pure function of `key`, and so equal in all its files.

    study, key: tell studies and series apart; in clear, so never written: the parent hashes them with the run's salt.
        key: SeriesInstanceUID with all that makes slices comparable (orientation, matrix, spacing).
    kind: `dicom`, `nifti` or `picture`. modality: as the header has it (`CT`), or None.
    rows, columns: of the source's slices. spacing_mm: between their rows and between their columns, or None.
    turn: how the source was turned to stand as the contract says, a name of `scans.orient` (empty: not at all).
    orientation: for people: `axial`, `axial, tilted 12°`, `coronal`, `unknown`.
    identifiers: patient, accession number, UIDs … in clear; dropped at once unless the user asks to identify.
    """

    study: str
    key: str
    kind: str
    modality: str | None = None
    rows: int = 0
    columns: int = 0
    spacing_mm: tuple[float, float] | None = None
    turn: str = ""
    orientation: str = "unknown"
    identifiers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One slice of a file.

    index: its place in the file, from 0 (frame of a DICOM file; third index of a NIfTI array).
    pixels: uint8 [C, S, S] in the contract's window, orientation and size; None if it is not to be judged: `withheld`
        then says why, and that is the answer's reason. With headers only, pixels are None whatever `withheld` says.
    position: mm along the normal of the slices, towards the head where that is known; None where no header says it.
    """

    index: int
    pixels: Slice | None = None
    withheld: str | None = None
    position: float | None = None


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A file that a reader has understood as far as its header.

    series: None for pictures, whose series is told by their paths. window: what results say of the intensity window:
    `unverified` where a file carries no HU, else `LOW…HIGH HU`. frames: its slices in rising index, decoded as they are
    asked for; may raise SliceError (the file has then failed as a whole).
    """

    series: Series | None
    window: str
    frames: Iterator[Frame]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the user decides about headers that leave room for doubt; what differs from the default is part of a run's
    identity.

    any_body_part: take a slice whose header names another region than the trunk (`scans.dicom.region`).
    trust: `sform` or `qform`, the orientation to use where a NIfTI file's two disagree; None excludes its slices.
    """

    any_body_part: bool = False
    trust: str | None = None

    def __post_init__(self) -> None:
        if self.trust not in (None, "sform", "qform"):
            raise UserError(f"`{self.trust}` is no orientation of a NIfTI file.", fix="--trust sform, or --trust qform")

    def to_json(self) -> dict[str, Any]:
        """The fields that differ from their default."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}


READING = Reading()


class Reader(Protocol):
    """What a reader module offers (a module satisfies a protocol).

    MAX_BYTES: a file larger than this is refused unread.
    """

    MAX_BYTES: int

    def read(
        self, data: bytes, contract: InputContract, *, headers_only: bool = False, reading: Reading = READING
    ) -> Scan:
        """Understand a file's bytes. headers_only: decode no pixel.

        Raises SliceError, whose text is the reason written to the file's row: no path, no metadata. Give it the
        `series` if the header was read before something failed.
        """
        ...


ZIP = "zip"
"""Kind of a file that discovery looks into itself."""


SUFFIXES = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".jpe"), "picture"),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), "dicom"),
    **dict.fromkeys((".nii", ".nii.gz"), "nifti"),
    ".zip": ZIP,
}
"""Suffix in lower case → kind of file, trusted unseen."""

READERS = {
    "picture": "lits_deploy.scans.image",
    "dicom": "lits_deploy.scans.dicom",
    "nifti": "lits_deploy.scans.nifti",
}
"""Kind → module that reads it: workers are told its name with each file."""
