"""What the masks of a run lie on: the ledger's series with all their slices, and what their files' headers say.

Headers are read again by decode workers, under their limits (`decode`). A file that is not the one that was
segmented any more (its hash differs) counts as unreadable.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from lits_deploy.decode.job import DecodeJob
from lits_deploy.ledger import FAILED, Ledger, SourceRow, VolumeRow
from lits_deploy.pipeline.context import RunContext
from lits_deploy.segmentation.headers import HEADER, READERS

CHUNK = 2000
"""Files whose headers are in memory at once, at least those of one series."""


@dataclass(frozen=True, kw_only=True)
class Headed:
    """A file's header. rows, columns: of its slices; data: as its kind's `headers` module gives it."""

    rows: int
    columns: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class MaskSource:
    """A volume (None: files that belong to none) and the rows of all its slices, in order, copies beside originals."""

    row: VolumeRow | None
    slices: tuple[SourceRow, ...]

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """What its header says (`scans.Series`), less what identifies."""
        return {} if self.row is None else dict(json.loads(self.row.info))

    @cached_property
    def arranged(self) -> Mapping[str, Any]:
        """What `series` says of it (`ledger.ranks`)."""
        return {} if self.row is None else dict(json.loads(self.row.arranged))

    @property
    def geometry(self) -> Mapping[str, Any]:
        """Rows, columns, spacing and turn of its slices (`series.Geometry`)."""
        return dict(self.info.get("geometry") or {})

    @property
    def file_name(self) -> str:
        """The stem of files that hold all of it."""
        assert self.row is not None
        number = self.arranged.get("number")
        return f"series-{self.row.name}{f'-part{number}' if number else ''}"

    @property
    def kind(self) -> str | None:
        """`dicom`, `nifti`, `picture` or None."""
        return self.info.get("kind")

    @property
    def segmented(self) -> list[SourceRow]:
        """The slices that have a mask, copies left out."""
        return [row for row in self.slices if row.masked and not row.copy]


def why_not(row: SourceRow) -> str | None:
    """Why a slice has no mask; None if it has."""
    if row.masked:
        return None
    return f"{'failed' if row.status == FAILED else 'excluded'}: {row.reason}"


def sources(ledger: Ledger) -> Iterator[MaskSource]:
    """All volumes."""
    volumes = ledger.volumes()
    for number, rows in groupby(ledger.sources(), key=lambda row: row.volume):
        yield MaskSource(row=None if number is None else volumes[number], slices=tuple(rows))


def chunks(found: Iterable[MaskSource]) -> Iterator[list[MaskSource]]:
    """Series in lots of at least CHUNK slices."""
    lot: list[MaskSource] = []
    for source in found:
        lot.append(source)
        if sum(len(each.slices) for each in lot) >= CHUNK:
            yield lot
            lot = []
    if lot:
        yield lot


def read_headers(rows: Iterable[SourceRow], run: RunContext) -> dict[int, Headed | str]:
    """File's number → its header, or why it cannot be had. Raises KeyboardInterrupt where the run is asked to stop."""
    found: dict[int, Headed | str] = {}
    files = {row.file: row for row in rows if row.kind in READERS}
    jobs = [DecodeJob.of(row, run.listing.real_path, READERS, headers=True) for row in files.values()]
    for end, _ in run.decoding.files(jobs):
        number = end.job.file
        if end.reason is not None:
            found[number] = end.reason
        elif run.naming.sha256(end.sha256) != files[number].sha256:
            found[number] = "the file has changed since it was segmented"
        else:
            assert end.series is not None
            data = b64decode(end.series.identifiers[HEADER])
            geometry = end.series.geometry
            found[number] = Headed(rows=geometry.rows, columns=geometry.columns, data=data)
    return found
