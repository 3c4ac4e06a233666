"""Scans for plans, made up: a listing that reads no disk, and headers that are in no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lits_deploy.decode.job import DecodeJob, Ended
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.scans import Frame, SeriesHeader
from lits_deploy.scans.discover import ScanRecord
from lits_deploy.series.facts import Geometry, SliceHeader
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.plan import PlanSummary, plan_scans
from lits_deploy.sharding.plan_record import PlanRequest
from lits_deploy.sharding.rows import PlannedRow

SALT = "the same in every test, so that plans compare"


@dataclass(frozen=True)
class File:
    """A file that was made up. series: its UID, None for a header that cannot be read; at: position in mm."""

    path: str
    series: str | None = "1"
    at: float = 0.0
    frames: int = 1
    mtime: int = 17
    kind: str = "dicom"
    reason: str | None = None

    @property
    def found(self) -> ScanRecord:
        kind, size = ("", -1) if self.reason else (self.kind, 1000)
        return ScanRecord(self.path, size, self.mtime, self.reason, kind, ctime_ns=self.mtime)


@dataclass
class MadeUp:
    """A `scans.listing.Listing` of such files, in the order in which they are given."""

    files: Iterable[File]
    base: str = "/scans"
    names: list[str] = field(default_factory=lambda: ["scans"])
    within: None = None
    where: str = "in /scans"
    recursive: bool = True
    hidden: bool = False
    only: None = None
    others: Counter[str] = field(default_factory=Counter)
    own: int = 0
    tops: set[str] = field(default_factory=set)
    mounts: set[str] = field(default_factory=set)
    unlisted: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ScanRecord]:
        return (file.found for file in self.files)

    def real_path(self, path: str) -> str:
        return f"{self.base}/{path}"


def answers_of(
    files: Iterable[File], order: Callable[[list[DecodeJob]], Sequence[DecodeJob]] = list
) -> tuple[Any, list[str]]:
    """What reads their headers in place of decode workers, and the names of those it has read.

    order: in which the answers come.
    """
    by_path: Mapping[str, File] = {file.path: file for file in files}
    read: list[str] = []

    def answer(jobs: Iterator[DecodeJob]) -> Iterator[tuple[Ended, list[Frame]]]:
        for job in order(list(jobs)):
            file = by_path[job.name]
            read.append(job.name)
            if file.series is None:
                yield Ended(job, reason="the header is damaged"), []
                continue
            geometry = Geometry(rows=512, columns=512, spacing_mm=(0.7, 0.7), directions=(1, 0, 0, 0, 1, 0))
            series = SeriesHeader(study="s", series=file.series, patient="p", kind=file.kind, geometry=geometry)
            where = [SliceHeader(position=file.at + i, number=i) for i in range(file.frames)]
            yield Ended(job, series=series), [Frame(index=i, header=one) for i, one in enumerate(where)]

    @contextmanager
    def opened() -> Iterator[Any]:
        yield answer

    return opened, read


def plan(
    bundle: Any, files: Sequence[File], job: JobFolder | Path, *, most: int | None = None, **more: Any
) -> PlanSummary:
    """Plan files that were made up. more: arguments of `plan_scans`, and fields of the options and the listing."""
    options = {name: more.pop(name) for name in list(more) if name in ClassifyOptions.__dataclass_fields__}
    listing = {name: more.pop(name) for name in list(more) if name in MadeUp.__dataclass_fields__}
    more.setdefault("open_reader", answers_of(files)[0])
    asked = PlanRequest(
        bundle=bundle,
        listing=MadeUp(files, **listing),
        roots=["/scans"],
        options=ClassifyOptions(**{"salt": SALT, **options}),
        shard_slices=most,
    )
    return plan_scans(asked, job if isinstance(job, JobFolder) else JobFolder(str(job)), **more)


def live_rows(job: JobFolder | Path) -> dict[int, list[PlannedRow]]:
    """The rows of the shards that count, by number."""
    job = job if isinstance(job, JobFolder) else JobFolder(str(job))
    return {entry.number: list(job.rows(entry)) for entry in job.read().live}
