"""Files in, slices out: which files of a folder are scans, and one reader module per kind of file.

    discover    the files below some roots, and inside their zips, with their kind (`kinds`)
    readers     picture (`image`), `dicom`, `nifti`: bytes → Scan, in the decode workers, imported there by name
    Series      what a file's header says of the series it belongs to; Frame: one slice of it

A reader never sees a path, and nothing it says of identifiers is written by anybody unless the user asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.errors import UserError
from lits_deploy.series.facts import Geometry, SliceHeader

Slice = npt.NDArray[np.uint8]
"""A slice as the network takes it: uint8 [C, S, S]."""

NOT_AN_IMAGE = "not an image"
"""How the reason ends of a report, a plan or an index among the images: there is nothing in it to classify."""

_NO_GEOMETRY, _NO_HEADER = Geometry(), SliceHeader()


@dataclass(frozen=True, kw_only=True)
class SeriesHeader:
    """What a file's header says of the series it belongs to; which files are one series, `lits_deploy.series` decides.

    study, series, patient: their UIDs and Patient ID, each empty where the header has none; of a NIfTI file a hash of
        its content. In clear, so never written: the parent hashes them with the run's salt.
    kind: `dicom`, `nifti` or `picture`. modality: as the header has it (`CT`), or None.
    geometry: of the source's first slice; its `reorientation` is how slices were, a name of `scans.orient`.
    orientation: for people: `axial`, `axial, tilted 12°`, `coronal`, `unknown`.
    technique: with what it was made, as far as a DICOM header says it, in words of fixed lists (`dicom.technique`).
    identifiers: patient, accession number, UIDs … in clear; dropped at once unless the user asks to identify.
    """

    study: str = ""
    series: str = ""
    patient: str = ""
    kind: str
    modality: str | None = None
    geometry: Geometry = _NO_GEOMETRY
    orientation: str = "unknown"
    technique: Mapping[str, str | float] = field(default_factory=dict)
    identifiers: Mapping[str, str] = field(default_factory=dict)

    @property
    def by_folder(self) -> bool:
        """Whether `series` is the file's folder, which ends with a slash, for want of a series UID."""
        return self.kind == "dicom" and self.series.endswith("/")

    def to_json(self) -> dict[str, Any]:
        """Its fields as plain values."""
        return {**vars(self), "geometry": {name: getattr(self.geometry, name) for name in self.geometry.__slots__}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SeriesHeader:
        """The series of what `to_json` gave, whose tuples JSON has made lists of."""
        geometry: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values["geometry"].items()}
        return cls(**{**values, "geometry": Geometry(**geometry)})


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One slice of a file.

    index: in the file, from 0 (frame of a DICOM file; third index of a NIfTI array).
    pixels: uint8 [C, S, S] in the contract's window, orientation and size; None if it is excluded,
        then `excluded` is the answer's reason. With headers only, pixels are None whatever `excluded` says.
    header: its position in its series. Of a picture the parent says it, by the path.
    in_hu: gives the slice's numbers in HU (`scans.appearance`), where its file has HU.
    checksum, look: of the slice as the network sees it, once it has been decoded (`decode.checksum`,
    `scans.appearance`); a look of no numbers: not looked at, or there was nothing to see.
    """

    index: int
    pixels: Slice | None = None
    excluded: str | None = None
    header: SliceHeader = _NO_HEADER
    in_hu: Callable[[], tuple[int, ...]] | None = field(default=None, compare=False, repr=False)
    checksum: int | None = None
    look: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A file that a reader has understood as far as its header.

    series: None for pictures, whose series follows from their paths. window: what results say of the intensity window:
    `unverified` where a file carries no HU, else `[LOW, HIGH] HU`. frames: its slices in rising index, decoded as
    they are asked for; may raise SliceError (the file has then failed as a whole).
    """

    series: SeriesHeader | None
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
            raise UserError(f"`{self.trust}` is no orientation of a NIfTI file.", fix="sform or qform")

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
"""Kind → module that reads it: workers get its name with each file."""
