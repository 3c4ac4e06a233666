"""Neighbouring slices, for networks of several channels: headers are read first, `lits_deploy.series` arranges.

Slices of one file have their neighbours there (`scans.neighbours.in_file`); this is about files of one slice. A picture
says all of it in its path, a DICOM file in its header; of files that are done it is known. All files of the run's
scope take part, done, failed or pending; one whose header cannot be read stands alone.
A result depends on its neighbours: it is made again where they are other files now, and where one of them is to do, for
it changed, is new or failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from time import monotonic

from lits_deploy.decode.job import DecodeJob, NeighbourSource
from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.ledger import HeaderRow
from lits_deploy.ledger.neighbours import FileNumbers, PlannedNeighbours
from lits_deploy.pipeline import defaults
from lits_deploy.pipeline.context import RunContext
from lits_deploy.pipeline.options import Progress
from lits_deploy.scans import SeriesHeader
from lits_deploy.series.facts import SliceHeader

_BY_PATH, _BY_HEADER = "picture", "dicom"

_LOT = 1000  # files noted in the ledger at once

_RECENT = 256  # files whose paths are remembered: each is its neighbours' neighbour, and they follow it

_Row = tuple[int, HeaderRow, str, str | None]


@dataclass(frozen=True)
class Neighbours:
    """Plans a run's files once the ledger has adopted them, and then gives them out with their neighbours."""

    run: RunContext
    _recent: dict[int, NeighbourSource] = field(default_factory=dict, repr=False)

    def plan(self) -> None:
        """Read the headers that are not known, and have the ledger know who neighbours whom.

        Raises KeyboardInterrupt when asked to stop: the same run goes on from there.
        """
        table, parsed = self.run.ledger.neighbours, self._parsed()
        while some := list(islice(parsed, _LOT)):
            table.put(some)
        table.settle(self._planned())

    def jobs(self) -> Iterator[DecodeJob]:
        """The files to do with their neighbours, series by series and along each."""
        for row, numbers in self.run.ledger.neighbours.pending(defaults.PAGE):
            job = DecodeJob.of(row, self.run.listing.real_path)
            self._recent[row.file] = job.source
            yield replace(job, neighbours=self._sources(numbers))
            while len(self._recent) > _RECENT:  # the oldest first
                del self._recent[next(iter(self._recent))]

    def of(self, file: int) -> tuple[NeighbourSource | None, ...]:
        """The files that become the channels of a file of one slice (`DecodeJob.neighbours`)."""
        return self._sources(self.run.ledger.neighbours.of(file))

    def _sources(self, numbers: FileNumbers) -> tuple[NeighbourSource | None, ...]:
        wanted = {number for number in numbers if number is not None and number not in self._recent}
        for row in self.run.ledger.staged_files(sorted(wanted)):
            self._recent[row.file] = DecodeJob.of(row, self.run.listing.real_path).source
        return tuple(None if number is None else self._recent[number] for number in numbers)

    def _parsed(self) -> Iterator[_Row]:
        """What headers and paths say of files of one slice."""
        run, naming = self.run, self.run.naming

        def named(job: DecodeJob, series: SeriesHeader | None, own: SliceHeader, sha256: str | None) -> Iterator[_Row]:
            header = naming.header(job, series)
            if header is not None:
                yield job.file, header, naming.facts(job, own), naming.sha256(sha256)

        for job in self._unread(_BY_PATH):
            if run.stop.requested:
                raise KeyboardInterrupt
            yield from named(job, None, SliceHeader(), None)
        files, said = run.ledger.staged(), monotonic()
        for read, (end, frames) in enumerate(run.decoding.files(self._unread(_BY_HEADER)), start=1):
            if end.reason is None and len(frames) == 1:
                yield from named(end.job, end.series, frames[0].header, end.sha256)
            if run.hooks.on_progress is not None and monotonic() - said > defaults.PROGRESS_EVERY_S:
                said = monotonic()
                note = f"{read:,} headers read, for neighbouring slices"
                run.hooks.on_progress(Progress(files=files, done=0, failed=0, slices=0, seconds=0.0, note=note))

    def _unread(self, kind: str) -> Iterator[DecodeJob]:
        for row in self.run.ledger.neighbours.unread(kind, defaults.PAGE):
            yield DecodeJob.of(row, self.run.listing.real_path, headers=True)

    def _planned(self) -> Iterator[PlannedNeighbours]:
        ledger, channels = self.run.ledger, self.run.contract.channels
        for members, volumes in ledger.neighbours.arranged(named=ledger.named):
            for volume in volumes:
                for i, others in volume.neighbours(channels).items():
                    files = [None if other == i else members[other] for other in others]
                    if not any(files):
                        files = []
                    paths = canonical_json([one and one.path for one in files])
                    digest = sha256_bytes(paths.encode())[:16] if files else ""
                    again = digest != members[i].digest or any(one and one.pending for one in files)
                    yield PlannedNeighbours(members[i].file, tuple(one and one.file for one in files), digest, again)
