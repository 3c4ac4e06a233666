"""Where the slices of a run stand in their series, and who is beside whom: for networks of several channels.

Slices of one file have their neighbours there (`scans.neighbours.in_file`); this is about files of one slice. The place
of a picture is in its path. That of a DICOM file is in its header, which decode workers read before the run, under its
limits; files that are done have told theirs, so a run that goes on reads the others' alone. All files of the run's
scope take part, done, failed or pending; one that tells no place, or cannot be read, stands alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic

from lits_deploy.contract import InputContract
from lits_deploy.ledger import Ledger
from lits_deploy.pipeline import tuning
from lits_deploy.pipeline.fetch import fetch
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.options import ClassifyOptions, Progress
from lits_deploy.pipeline.stop import Stop
from lits_deploy.pipeline.workers import Held, Job, Source
from lits_deploy.scans.discover import Discovery
from lits_deploy.scans.neighbours import alone

_BY_PATH, _BY_HEADER = "picture", "dicom"

_LOT = 1000  # places put into the ledger at once

_RECENT = 256  # files whose paths are remembered: each is its neighbours' neighbour, and they follow it


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Finds the places of a run's files (before `Ledger.adopt`), and then their neighbours."""

    ledger: Ledger
    discovery: Discovery
    _recent: dict[int, Source] = field(default_factory=dict, repr=False)

    def find_places(
        self,
        naming: Naming,
        contract: InputContract,
        options: ClassifyOptions,
        stop: Stop,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Have the ledger know series and position of every file that has them.

        Raises KeyboardInterrupt when asked to stop: nothing has changed then.
        """
        self.ledger.beside.known((_BY_PATH, _BY_HEADER))
        places = _Places(self.ledger, naming)
        for job in self._jobs(_BY_PATH):
            places.add(job, naming.position(job, None))
            if stop.requested:
                raise KeyboardInterrupt
        self._read_headers(places, contract, options, stop, on_progress)
        places.put()

    def jobs(self) -> Iterator[Job]:
        """The files to do with those beside them, series by series and along each."""
        for row, near in self.ledger.beside.pending(tuning.PAGE):
            job = Job.of(row, self.discovery.real_path)
            self._recent[row.file] = job.source
            job.beside = self._sources(near)
            while len(self._recent) > _RECENT:  # the oldest first
                del self._recent[next(iter(self._recent))]
            yield job

    def of(self, file: int) -> tuple[Source | None, ...]:
        """The files that become the channels of a file of one slice (`Job.beside`)."""
        return self._sources(self.ledger.beside.near(file))

    def _sources(self, near: tuple[int | None, ...]) -> tuple[Source | None, ...]:
        wanted = {number for number in near if number is not None and number not in self._recent}
        for row in self.ledger.staged_files(sorted(wanted)):
            self._recent[row.file] = Job.of(row, self.discovery.real_path).source
        return tuple(None if number is None else self._recent[number] for number in near)

    def _jobs(self, kind: str) -> Iterator[Job]:
        for row in self.ledger.beside.unknown(kind, tuning.PAGE):
            yield Job.of(row, self.discovery.real_path, headers=True)

    def _read_headers(
        self,
        places: _Places,
        contract: InputContract,
        options: ClassifyOptions,
        stop: Stop,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        jobs = self._jobs(_BY_HEADER)
        first = next(jobs, None)
        if first is None:  # no decoders are started for nothing
            return
        positions: dict[Job, tuple[int, float | None]] = {}
        files, read, told = self.ledger.staged(), 0, monotonic()

        def on_held(held: Held) -> None:
            if held.index == 0:
                positions[held.job] = held.attempt, held.position

        def on_done(job: Job) -> None:
            nonlocal read, told
            attempt, position = positions.pop(job, (0, None))
            if job.reason is None and job.total == 1 and attempt == job.deaths:
                places.add(job, position)
            read += 1
            if on_progress is not None and monotonic() - told > tuning.PROGRESS_EVERY_S:
                told = monotonic()
                note = f"{read:,} headers read, for neighbouring slices"
                on_progress(Progress(files=files, done=0, failed=0, slices=0, seconds=0.0, note=note))

        fetch(
            chain([first], jobs),
            alone(contract),
            options,
            on_held=on_held,
            on_done=on_done,
            stop=stop,
            within=self.discovery.within,
        )


class _Places:
    """Places on their way into the ledger, under the names that series have there."""

    def __init__(self, ledger: Ledger, naming: Naming) -> None:
        self._ledger, self._naming = ledger, naming
        self._rows: list[tuple[str, str, float]] = []

    def add(self, job: Job, position: float | None) -> None:
        series = self._naming.series(job)
        if series is not None and position is not None:
            self._rows.append((self._naming.path(job.name), series.name, position))
        if len(self._rows) >= _LOT:
            self.put()

    def put(self) -> None:
        self._ledger.beside.put(self._rows)
        self._rows = []
