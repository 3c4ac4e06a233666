"""What goes into the ledger and comes out of it: plain rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

PENDING, OK, FAILED, ABSTAINED = 0, 1, 2, 3

NAMES, RUN, ABOUT, RAN, PICTURES = "names", "run", "about", "ran", "pictures"
"""What is noted of a run (`Ledger.note`): how it names things; classes and provenance, which its tables repeat; what a
report says of the network, and of when, where and on what it ran (`pipeline.about`); what is drawn over pictures
(`pipeline.pictures`)."""


class SliceRow(NamedTuple):
    """A slice's answer: file's number, place in it, label 0…2 and probabilities; no label for `abstain`; or a reason
    and None. position: along its series; labels: its mask, compressed, if it was segmented."""

    file: int
    idx: int
    status: int
    reason: str | None
    label: int | None
    p0: float | None
    p1: float | None
    p2: float | None
    position: float | None = None
    labels: bytes | None = None


class SeriesRow(NamedTuple):
    """A series: its name and its study's, and `info`, a JSON object of what its header says (`pipeline.naming`)."""

    name: str
    study: str
    info: str


class FileRow(NamedTuple):
    """A file that is done: number, OK or FAILED, reason, SHA-256 of its bytes (as `pipeline.naming` has it), window of
    its intensities, series."""

    file: int
    status: int
    reason: str | None
    sha256: str | None
    window: str | None
    series: SeriesRow | None = None


class PartRow(NamedTuple):
    """What one series (or none) of one part holds: the part as it is written, study, series' number, rows by status;
    acknowledged: of the failed ones."""

    part: str
    study: str | None
    series_id: int | None
    rows: int
    failed: int
    withheld: int
    acknowledged: int


class SourceRow(NamedTuple):
    """A slice (or a failed file) and where its file is: number to mtime as in PendingFile, the file's hash, its series,
    the slice's place in file and series, status and reason, and whether it has a mask."""

    file: int
    path: str
    place: str
    kind: str
    container: str | None
    member: int | None
    mtime_ns: int
    sha256: str | None
    series_id: int | None
    idx: int
    status: int
    reason: str | None
    position: float | None
    masked: bool


class PendingFile(NamedTuple):
    """A file to do: number, path as it is written, where discovery found it, reader's kind, its zip if in one, and the
    time of its (or the zip's) last change then."""

    file: int
    path: str
    place: str
    kind: str
    container: str | None
    member: int | None
    mtime_ns: int


class ResultRow(NamedTuple):
    """A row of the result tables, as far as the ledger knows it; `series_id` leads to `Ledger.series`, `file` to the
    file's pictures."""

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
    study: str | None = None
    series: str | None = None
    position: float | None = None
    series_id: int | None = None
    file: int | None = None


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
class Counts:
    """Files by status."""

    pending: int
    ok: int
    failed: int

    @property
    def all(self) -> int:
        """Files in the ledger."""
        return self.pending + self.ok + self.failed
