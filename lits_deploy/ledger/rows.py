"""What goes into the ledger and comes out of it: plain rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

PENDING, OK, FAILED, ABSTAINED, EXCLUDED = 0, 1, 2, 3, 4
"""Status of a file: one of the first three. Of a slice: answered, failed, answered and unsure, or kept from the network
by an input gate or its header."""

NAMES, RUN, ABOUT, RAN, PICTURES = "names", "run", "about", "ran", "pictures"
"""What is noted of a run (`Ledger.note`): how it names things; classes and provenance, which its tables repeat; what a
report says of the network, and of when, where and on what it ran (`pipeline.about`); what is drawn over pictures
(`report.picture_pass`)."""


class SecondRow(NamedTuple):
    """What a pair says of a slice besides: pixels that its U-Net calls liver, lesions included, and lesion (None: where
    it did not look), and the log odds of a lesion by both networks."""

    liver: int | None
    tumour: int | None
    log_odds: float

    @property
    def lesion(self) -> float:
        """The same as a probability."""
        return probability_of(self.log_odds)


def probability_of(log_odds: float) -> float:
    """1 / (1 + exp(−x)), without overflow."""
    return 1 / (1 + math.exp(-log_odds)) if log_odds >= 0 else (e := math.exp(log_odds)) / (1 + e)


class SliceRow(NamedTuple):
    """A slice's answer: file's number, index in it, label 0…2 and probabilities; no label where the network is unsure;
    or a reason and None. facts: a `series.SliceHeader` as JSON (`facts_of` reads it); pixels: checksum of the slice as
    the network saw it; labels: its mask, compressed, if it was segmented; look: how it looks, if it was looked at
    (`scans.appearance.packed`); second: of a pair."""

    file: int
    idx: int
    status: int
    reason: str | None
    label: int | None
    p0: float | None
    p1: float | None
    p2: float | None
    facts: str = "{}"
    pixels: int | None = None
    labels: bytes | None = None
    look: bytes | None = None
    second: SecondRow | None = None


class HeaderRow(NamedTuple):
    """What a file's header says (`pipeline.naming`): tokens of series UID (or folder), study UID and Patient ID (empty:
    none), and `info`, a JSON object: kind, modality, orientation, identifiers where asked for, and the geometry."""

    token: str
    study: str
    patient: str
    info: str


class VolumeRow(NamedTuple):
    """Slices that belong together (`ledger.ranks`): pseudonyms of series and study, `info` of its first slice's header,
    what `series.Arranged` says of them, both as JSON; copy_of: the name of the series of which it is wholly a copy."""

    name: str
    study: str
    info: str
    arranged: str
    copy_of: str | None = None


class FileRow(NamedTuple):
    """A file that is done: number, OK or FAILED, reason, SHA-256 of its bytes (as `pipeline.naming` has it), window of
    its intensities, header."""

    file: int
    status: int
    reason: str | None
    sha256: str | None
    window: str | None
    header: HeaderRow | None = None


class EntryRow(NamedTuple):
    """What one volume (or none) of one part of the scans holds: the part as it is written, study, volume's number, rows
    by status; acknowledged: of the failed ones."""

    part: str
    study: str | None
    volume: int | None
    rows: int
    failed: int
    excluded: int
    acknowledged: int


class SourceRow(NamedTuple):
    """A slice (or a failed file) and where its file is: number to mtime as in PendingFile, the file's hash, its volume,
    the slice's index in the file, status and reason, position, whether it is a copy, and whether it has a mask."""

    file: int
    path: str
    source: str
    kind: str
    container: str | None
    member: int | None
    mtime_ns: int
    sha256: str | None
    volume: int | None
    idx: int
    status: int
    reason: str | None
    position: float | None
    copy: bool
    masked: bool


class PendingFile(NamedTuple):
    """A file to do: number, path as it is written, where discovery found it, reader's kind, its zip if in one, and the
    time of its (or the zip's) last change then."""

    file: int
    path: str
    source: str
    kind: str
    container: str | None
    member: int | None
    mtime_ns: int


class ResultRow(NamedTuple):
    """A row of the result tables, as far as the ledger knows it; `volume` leads to `Ledger.volumes`, `file` to the
    file's pictures. position: what orders its volume (`series.Arranged.by`). copy_of: the original's path. number: of
    the slice in its volume, from 1; a copy has its original's. look: how it
    looks, of rows by volume (`scans.appearance.packed`); None: not looked at. liver, tumour, log_odds: as in SecondRow,
    of a pair."""

    path: str
    idx: int
    status: int
    reason: str | None
    label: int | None
    p0: float | None
    p1: float | None
    p2: float | None
    window: str | None
    sha256: str | None
    position: float | None = None
    volume: int | None = None
    copy_of: str | None = None
    file: int | None = None
    liver: int | None = None
    tumour: int | None = None
    log_odds: float | None = None
    number: int | None = None
    look: bytes | None = None

    @property
    def lesion(self) -> float | None:
        """The probability of a lesion that suspicion rests on: a pair's by both networks, else the classifier's."""
        return self.p2 if self.log_odds is None else probability_of(self.log_odds)


class AnsweredRow(NamedTuple):
    """Library → version (lits-deploy among them), and how many files and slices of them these answered."""

    versions: dict[str, str]
    files: int
    slices: int


class PictureRow(NamedTuple):
    """A small picture of a slice: JPEG of side × side pixels, and its contours as JSON (`report.pictures`)."""

    file: int
    idx: int
    jpeg: bytes
    side: int
    contours: str


@dataclass(frozen=True)
class FileCounts:
    """Files by status."""

    pending: int
    ok: int
    failed: int

    @property
    def all(self) -> int:
        """Files in the ledger."""
        return self.pending + self.ok + self.failed
