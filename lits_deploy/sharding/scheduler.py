"""Which worker does which shard: handed out one by one, tried again elsewhere, given up, and counted.

A shard is handed out when a worker has nothing to do, the largest first, so that what is left to the end is small. Who
does a shard, and how often it was begun, changes no result. Knows neither processes nor clusters (`crew`), nor files.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic

from lits_deploy.pipeline import defaults
from lits_deploy.pipeline.options import Progress
from lits_deploy.pipeline.stop import Stop
from lits_deploy.sharding.crew import Crew, Event, Joined, Left, Refused, Reported, ShardDone, Stopped
from lits_deploy.sharding.record import ShardEntry

MOST_DEATHS = 2
"""Workers that may die over a shard before it counts as failed: what kills two would kill all."""

MOST_LOSSES = 4
"""Machines that may be lost under a shard before it counts as failed: they go for reasons of their own."""

MOST_REFUSALS = 2
"""Times that a shard may be refused before it counts as failed."""

IN_A_ROW, ALONE = 3, 10
"""Deaths of a worker, or refusals of a machine, with no success between them, after which it gets no more: a bad one
fails fast, and would else go through all shards while the good ones are at one. ALONE: where there is no good one."""

WAIT_S = 0.25
"""Longest wait for something to happen."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it. done, left: shards by number; failed: why, by number. slices: answered now, in `seconds`.

    workers: how many were at work, those that were started again counted once.
    """

    done: tuple[int, ...]
    failed: dict[int, str]
    left: tuple[int, ...]
    slices: int
    seconds: float
    workers: int
    notes: tuple[str, ...]


class Scheduler:
    """Hands shards out, and counts what comes of them."""

    def __init__(self, shards: Iterable[ShardEntry]) -> None:
        ordered = sorted(shards, key=lambda entry: (-entry.slices, entry.number))
        self._files = {entry.number: entry.files for entry in ordered}
        self._waiting = deque(entry.number for entry in ordered)
        self._machines: dict[str, str] = {}  # of workers that are there
        self._busy: dict[str, int] = {}
        self._failed_on: dict[int, set[str]] = {}
        self._deaths: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()
        self._refusals: Counter[int] = Counter()
        self._died: Counter[str] = Counter()  # in a row
        self._refused: Counter[str] = Counter()
        self._progress: dict[int, Progress] = {}
        self._closed = False
        self.done: list[int] = []
        self.failed: dict[int, str] = {}
        self._slices = self._failed_files = 0

    @property
    def over(self) -> bool:
        """Nobody is at a shard, and none is to be handed out."""
        return not self._busy and (self._closed or not self._waiting)

    @property
    def left(self) -> tuple[int, ...]:
        """Shards that are neither done nor failed."""
        return tuple(sorted({*self._waiting, *self._busy.values()}))

    def close(self) -> None:
        """Hand out no more."""
        self._closed = True

    def joined(self, worker: str, machine: str) -> None:
        """A worker waits for a shard."""
        self._machines[worker] = machine

    def idle(self) -> list[str]:
        """Workers that have no shard."""
        return sorted(set(self._machines) - set(self._busy))

    def take(self, worker: str) -> int | None:
        """The next shard for a worker that has none; None: none for it now."""
        able = self._able()
        if self._closed or worker not in able:
            return None
        elsewhere = {self._machines[other] for other in able}
        for number in self._waiting:
            before = self._failed_on.get(number, set())
            if self._machines[worker] not in before or not elsewhere - before:
                self._waiting.remove(number)
                self._busy[worker] = number
                return number
        return None

    def reported(self, worker: str, progress: Progress) -> None:
        """Where a worker is with its shard."""
        if worker in self._busy:
            self._progress[self._busy[worker]] = progress

    def published(self, worker: str, *, slices: int, failed: int) -> None:
        """A worker's shard is done."""
        number = self._busy.pop(worker)
        self._progress.pop(number, None)
        self._slices += slices
        self._failed_files += failed
        self._died[worker] = self._refused[self._machines[worker]] = 0
        self.done.append(number)

    def refused(self, worker: str, why: str) -> None:
        """A worker cannot do its shard."""
        number, machine = self._returned(worker), self._machines[worker]
        self._refused[machine] += 1
        self._refusals[number] += 1
        self._again(number, machine, why, enough=self._refusals[number] >= MOST_REFUSALS)

    def stopped(self, worker: str) -> None:
        """A worker has stopped in good order before its shard was done."""
        self._put_back(self._returned(worker))

    def gone(self, worker: str, why: str, *, lost: bool) -> bool:
        """A worker is gone; whether another one in its place would be given a shard. lost: as in `crew.Left`."""
        machine = self._machines.pop(worker, "")
        self._died[worker] += not lost
        if worker in self._busy:
            number = self._returned(worker)
            count, most = (self._losses, MOST_LOSSES) if lost else (self._deaths, MOST_DEATHS)
            count[number] += not self._closed  # one that was told to stop may have been killed for being slow
            self._again(number, machine, why, enough=count[number] >= most)
        return not self._closed and bool(self._waiting) and self._died[worker] < IN_A_ROW

    @property
    def helpless(self) -> bool:
        """There are workers, and none of them gets a shard any more."""
        return bool(self._machines) and not self._able()

    def progress(self, files: int, before: int, seconds: float) -> Progress:
        """Of all shards together. files: of the plan; before: of shards that were done at the start."""
        now = self._progress.values()
        return Progress(
            files=files,
            done=before + sum(self._files[number] for number in self.done) + sum(one.done for one in now),
            failed=self._failed_files + sum(one.failed for one in now),
            slices=self.slices,
            seconds=seconds,
        )

    @property
    def slices(self) -> int:
        """Answered so far."""
        return self._slices + sum(one.slices for one in self._progress.values())

    def _able(self) -> set[str]:
        good = any(self._refused[machine] < IN_A_ROW for machine in self._machines.values())
        most = IN_A_ROW if good else ALONE
        return {worker for worker, machine in self._machines.items() if self._refused[machine] < most}

    def _returned(self, worker: str) -> int:
        number = self._busy.pop(worker)
        if (progress := self._progress.pop(number, None)) is not None:
            self._slices += progress.slices
        return number

    def _again(self, number: int, machine: str, why: str, *, enough: bool) -> None:
        self._failed_on.setdefault(number, set()).add(machine)
        if enough:
            self.failed[number] = why
        else:
            self._put_back(number)

    def _put_back(self, number: int) -> None:
        self._waiting.appendleft(number)


def work_off(
    crew: Crew,
    shards: Iterable[ShardEntry],
    *,
    files: int,
    before: int,
    stop: Stop,
    on_progress: Callable[[Progress], None] | None = None,
    on_joined: Callable[[Joined], str | None] = lambda joined: None,
) -> Outcome:
    """Have shards done by a crew, which has been entered; returns when nobody is at one any more.

    files, before: for progress, as in `Scheduler.progress`. stop: ends it in good order. on_joined: called for every
    worker before it gets a shard; one of which it says why not gets none, and what it raises ends the work.
    Raises UserError where the crew cannot work at all.
    """
    scheduler, notes, seen = Scheduler(shards), dict[str, None](), set[str]()
    begun, reported, stopping = 0.0, 0.0, False

    def take(event: Event) -> None:
        nonlocal begun
        if isinstance(event, Joined):
            if (why_not := on_joined(event)) is not None:
                notes[why_not] = None
                return
            begun = begun or monotonic()
            seen.add(event.worker)
            scheduler.joined(event.worker, event.machine)
        elif isinstance(event, Reported):
            scheduler.reported(event.worker, event.progress)
        elif isinstance(event, ShardDone):
            scheduler.published(event.worker, slices=event.slices, failed=event.failed)
            notes.update(dict.fromkeys(event.warnings))
        elif isinstance(event, Refused):
            scheduler.refused(event.worker, event.why)
        elif isinstance(event, Stopped):
            scheduler.stopped(event.worker)
        elif isinstance(event, Left):
            wanted = scheduler.gone(event.worker, event.why, lost=event.lost)
            if not stopping:
                notes[f"{event.worker} was lost: {event.why}"] = None
            if wanted and event.returns:
                crew.again(event.worker)
        else:
            notes[event.line] = None

    stop.wakes(crew.wake)
    try:
        while not scheduler.over:
            if stop.requested and not stopping:
                stopping = True
                scheduler.close()
                crew.stop()
            for event in crew.wait(WAIT_S):
                take(event)
            for worker in scheduler.idle():
                number = None if stop.requested else scheduler.take(worker)
                if number is not None:
                    crew.give(worker, number)
            if scheduler.helpless or not crew.expected:
                scheduler.close()
                if not crew.expected:
                    break
            now = monotonic()
            if on_progress is not None and begun and now - reported >= defaults.PROGRESS_EVERY_S:
                reported = now
                on_progress(scheduler.progress(files, before, now - begun))
    finally:
        stop.wakes(None)
    return Outcome(
        done=tuple(sorted(scheduler.done)),
        failed=dict(sorted(scheduler.failed.items())),
        left=scheduler.left,
        slices=scheduler.slices,
        seconds=monotonic() - begun if begun else 0.0,
        workers=len(seen),
        notes=tuple(notes),
    )
