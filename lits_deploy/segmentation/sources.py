"""What the masks of a run lie on: the ledger's series with all their slices, and what their files' headers say.

Headers are read again by decode workers, under their limits (`pipeline.fetch`). A file that is not the one that was
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

from lits_deploy.contract import InputContract
from lits_deploy.ledger import FAILED, Ledger, SeriesRow, SourceRow
from lits_deploy.pipeline.fetch import fetch
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.workers import Job
from lits_deploy.scans.discover import Discovery
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
class Source:
    """A series (None: files that belong to none) and the rows of all its slices, along it."""

    row: SeriesRow | None
    slices: tuple[SourceRow, ...]

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """What its header says (`scans.Series`), less what identifies."""
        return {} if self.row is None else dict(json.loads(self.row.info))

    @property
    def kind(self) -> str | None:
        """`dicom`, `nifti`, `picture` or None."""
        return self.info.get("kind")

    @property
    def segmented(self) -> list[SourceRow]:
        """The slices that have a mask."""
        return [row for row in self.slices if row.masked]


def why_not(row: SourceRow) -> str | None:
    """Why a slice has no mask; None if it has."""
    if row.masked:
        return None
    return f"failed: {row.reason}" if row.status == FAILED else f"not judged: {row.reason}"


def sources(ledger: Ledger) -> Iterator[Source]:
    """All series, in the order of their pseudonyms."""
    series = ledger.series()
    for number, rows in groupby(ledger.sources(), key=lambda row: row.series_id):
        yield Source(row=None if number is None else series[number], slices=tuple(rows))


def chunks(found: Iterable[Source]) -> Iterator[list[Source]]:
    """Series in lots of at least CHUNK slices."""
    lot: list[Source] = []
    for source in found:
        lot.append(source)
        if sum(len(each.slices) for each in lot) >= CHUNK:
            yield lot
            lot = []
    if lot:
        yield lot


def read_headers(
    rows: Iterable[SourceRow],
    contract: InputContract,
    options: ClassifyOptions,
    discovery: Discovery,
    naming: Naming,
) -> dict[int, Headed | str]:
    """File's number → its header, or why it cannot be had. discovery: that found the files; naming: the run's."""
    found: dict[int, Headed | str] = {}
    files = {row.file: row for row in rows if row.kind in READERS}

    def done(job: Job) -> None:
        if job.reason is not None:
            found[job.file] = job.reason
        elif naming.sha256(job) != files[job.file].sha256:
            found[job.file] = "the file has changed since it was segmented"
        else:
            assert job.series is not None
            data = b64decode(job.series.identifiers[HEADER])
            found[job.file] = Headed(rows=job.series.rows, columns=job.series.columns, data=data)

    jobs = (Job.of(row, discovery.real_path, READERS, headers=True) for row in files.values())
    if files:
        fetch(jobs, contract, options, on_done=done, within=discovery.within)
    return found
