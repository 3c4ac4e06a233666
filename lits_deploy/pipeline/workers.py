"""The parent's side of the decode workers: hand out files and slots, judge their answers, replace the dead.

A file whose worker dies gets a second try in a fresh one: the death may have come from outside. A second death, or more
time than the limit, is a failure of that file; the files behind it in the worker's queue go to others. Where it happens
over a neighbour of the file (`Job.beside`), the file is decoded once more without that neighbour.
Everything here runs in the pipeline's one thread and waits for nobody.
"""

from __future__ import annotations

import math
import os
import selectors
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.errors import LitsError
from lits_deploy.ledger import PendingFile, SourceRow
from lits_deploy.pipeline import tuning
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.process import WorkerProcess, WorkerSettings
from lits_deploy.pipeline.slots import Slots, create_memory, map_slots
from lits_deploy.scans import READERS, Series

_LONG_PATH = 1000  # characters, up to 6 bytes each; a full queue of them must fit a pipe, or the parent would stand
_ATTEMPTS = 2
_FAILED_STARTS = 5  # in a row, before the installation is blamed


class Source(NamedTuple):
    """Where a neighbour of a file lies; as in Job."""

    path: str
    member: int | None
    mtime_ns: int | None


@dataclass(eq=False)
class Job:
    """One file on its way through the pipeline.

    file: its number in the ledger; path: the operating system's (of its zip, if it is the zip's `member`); name: as
    discovery found it; kind, reader: of file, and the module that reads it. mtime_ns: of the zip when it was listed: of
    another one the member's number may mean another file.
    headers: tell of its slices and decode none; only: the indices of the slices to decode (None: all).
    beside: of a file of one slice the files, of the same kind, that become its channels (None: itself in the middle,
    elsewhere none to be used); empty where its neighbours are slices of its own. at: the neighbour that is decoded now.
    deaths: decoders that died over it; it also tells an earlier attempt's slices from those of this one. died: how many
    of them over which neighbour (None: over the file itself).
    seen, total: slices decoded or held back so far, and in all once that is known; written: those that are answered.
    series: what its header says, as far as it was understood.
    """

    file: int
    path: str
    reader: str
    name: str = ""
    kind: str = ""
    member: int | None = None
    mtime_ns: int | None = None
    headers: bool = False
    only: tuple[int, ...] | None = None
    beside: tuple[Source | None, ...] = ()
    at: int | None = None
    deaths: int = 0
    died: Counter[int | None] = field(default_factory=Counter)
    seen: int = 0
    total: int | None = None
    written: int = 0
    sha256: str | None = None
    window: str | None = None
    series: Series | None = None
    reason: str | None = None

    @classmethod
    def of(
        cls,
        row: PendingFile | SourceRow,
        real_path: Callable[[str], str],
        readers: Mapping[str, str] = READERS,
        **more: Any,
    ) -> Job:
        """The job for a file of a discovery. real_path: the operating system's path of a path as discovery found it."""
        return cls(
            row.file,
            real_path(row.container or row.place),
            readers[row.kind],
            name=row.place,
            kind=row.kind,
            member=row.member,
            mtime_ns=None if row.member is None else row.mtime_ns,
            **more,
        )

    def message(self) -> dict[str, Any]:
        """As a worker takes it (`pipeline.worker`)."""
        extra = {
            "member": self.member,
            "mtime_ns": self.mtime_ns,
            "headers": self.headers or None,
            "only": self.only,
            "beside": self.beside or None,
        }
        told = {key: value for key, value in extra.items() if value is not None}
        return {"file": self.file, "path": self.path, "reader": self.reader, **told}

    @property
    def source(self) -> Source:
        """Where it lies, for a job that it is a neighbour of."""
        return Source(self.path, self.member, self.mtime_ns)

    @property
    def letters(self) -> int:
        """Of all paths in the message."""
        return len(self.path) + sum(len(source.path) for source in self.beside if source is not None)


@dataclass(frozen=True)
class Tag:
    """Whose slice lies in a slot. position: in mm along its series (`scans.Frame`)."""

    job: Job
    attempt: int
    index: int
    position: float | None = None


@dataclass(frozen=True)
class Held:
    """A slice that is not to be judged, and why (None: only its header was wanted)."""

    job: Job
    attempt: int
    index: int
    reason: str | None
    position: float | None


@dataclass(eq=False)
class _Worker:
    process: WorkerProcess
    started: float
    ready: bool = False
    hungry: bool = False  # its file has more slices than it has slots
    swollen: bool = False  # it reported too much memory, and ends
    forget: bool = False  # its unused slots were taken back; the next message says so
    since: float | None = None  # when decoding of its first job began or went on; None while nothing is decoded
    jobs: deque[Job] = field(default_factory=deque)
    lot: deque[Job] = field(default_factory=deque)  # jobs that are kept for it
    leases: set[int] = field(default_factory=set)

    def tell(self, slots: list[int], job: Job | None = None) -> None:
        """Send slots, and a job with them."""
        message: dict[str, Any] = {"slots": slots}
        if job is not None:
            message |= job.message()
            self.jobs.append(job)
        if self.forget:
            message["forget"], self.forget = True, False
        self.leases.update(slots)
        self.process.send(message)
        if self.since is None:
            self.since = monotonic()


class WorkerPool:
    """`count` workers that turn jobs into filled slots of `slots` (set before `feed`).

    lot: jobs in a row that go to one worker, where neighbours follow each other: it has them at hand then.
    on_decoded(job): all its slices lie in slots or were held back. on_held(held): one was. on_failed(job): `job.reason`
    says why. on_again(job): it starts anew.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        count: int,
        selector: selectors.BaseSelector,
        *,
        time_limit_s: float,
        lot: int = 1,
        on_decoded: Callable[[Job], None],
        on_held: Callable[[Held], None],
        on_failed: Callable[[Job], None],
        on_again: Callable[[Job], None],
    ) -> None:
        self._settings, self._count, self._selector, self._time_limit_s = settings, count, selector, time_limit_s
        self._on_decoded, self._on_held, self._on_failed, self._on_again = on_decoded, on_held, on_failed, on_again
        self._lot = lot
        self._workers: list[_Worker] = []
        self._again: deque[Job] = deque()
        self._failed_starts = 0
        self._input_ended = False
        self.slots: Slots[Tag]
        self.restarts = 0
        self.decode_ms = 0.0
        self.ready_at: float | None = None

    def start(self) -> None:
        """Start workers until there are `count`; they become ready by themselves."""
        while len(self._workers) < self._count:
            worker = _Worker(WorkerProcess(self._settings), monotonic())
            self._workers.append(worker)
            self._selector.register(worker.process.out, selectors.EVENT_READ, partial(self._read, worker))
            self._selector.register(worker.process.err, selectors.EVENT_READ, partial(self._read_err, worker))

    @property
    def count(self) -> int:
        """Workers there are to be."""
        return self._count

    def grow(self) -> None:
        """Start one more."""
        self._count += 1
        self.start()

    @property
    def busy(self) -> bool:
        """True while a job is with a worker, kept for one, or waits for another try."""
        return bool(self._again) or any(worker.jobs or worker.lot for worker in self._workers)

    def feed(self, next_job: Callable[[], Job | None]) -> None:
        """Give every worker as much work as its queue takes and the free slots allow."""
        for worker in self._workers:
            if worker.hungry and (slot := self.slots.lease()) is not None:
                worker.hungry = False
                worker.tell([slot])
        while idle := [w for w in self._workers if w.ready and not w.hungry and len(w.jobs) < tuning.QUEUE_DEPTH]:
            worker = min(idle, key=lambda w: len(w.jobs))
            lease = self.slots.lease() if len(worker.leases) <= len(worker.jobs) else None
            if lease is None and len(worker.leases) <= len(worker.jobs):
                break
            job = self._again.popleft() if self._again else self._next_of(worker, next_job)
            self._input_ended = job is None
            if job is None or (worker.jobs and job.letters > _LONG_PATH):
                if job is not None:
                    self._again.appendleft(job)
                if lease is not None:
                    self.slots.give_back(lease)
                break
            worker.tell([] if lease is None else [lease], job)
        for worker in self._workers:
            worker.process.flush()
            if not worker.jobs and worker.leases:
                self._take_back(worker)
                worker.forget = True
        if len(self._workers) < self._count and (self.busy or not self._input_ended):
            self.start()

    def _next_of(self, worker: _Worker, next_job: Callable[[], Job | None]) -> Job | None:
        """The next job of a worker's lot; at the end of the input one of the longest lot, from its end."""
        if self._lot == 1:
            return next_job()
        if not worker.lot:
            worker.lot.extend(islice(iter(next_job, None), self._lot))
        if worker.lot:
            return worker.lot.popleft()
        longest = max((one.lot for one in self._workers), key=len)
        return longest.pop() if longest else None

    def next_deadline(self) -> float | None:
        """When (monotonic seconds) `check_time` has something to do, if nothing is heard before."""
        times = [w.since + self._time_limit_s for w in self._workers if w.ready and w.since is not None]
        times += [w.started + tuning.WORKER_START_S for w in self._workers if not w.ready]
        return min(times, default=None)

    def forgive(self, seconds: float) -> None:
        """Give every worker that much more time."""
        for worker in self._workers:
            worker.started += seconds
            worker.since = None if worker.since is None else worker.since + seconds

    def check_time(self) -> None:
        """End workers that are over their time."""
        now = monotonic()
        for worker in list(self._workers):
            if not worker.ready and now - worker.started > tuning.WORKER_START_S:
                self._lost(worker)
            elif worker.ready and worker.since is not None and now - worker.since > self._time_limit_s:
                self._drop(worker)
                reason = f"decoding took longer than {self._time_limit_s:g} s"
                self._end_badly(worker.jobs.popleft(), reason, attempts=1)
                self._again.extendleft(reversed([*worker.jobs, *worker.lot]))

    def close(self) -> None:
        """End all workers; nothing is asked of them any more."""
        for worker in list(self._workers):
            self._drop(worker, take_back=False)

    def _read(self, worker: _Worker) -> None:
        try:
            messages = worker.process.receive()
        except ValueError:
            messages = None
        for message in messages or ():
            if not _makes_sense(worker, message):  # a worker whose memory was overwritten may say anything
                messages = None
                break
            self._handle(worker, message)
        if messages is None:
            self._lost(worker)

    def _read_err(self, worker: _Worker) -> None:
        if not worker.process.read_err():
            self._selector.unregister(worker.process.err)

    def _handle(self, worker: _Worker, message: dict[str, Any]) -> None:
        if message.get("ready"):
            worker.ready, self._failed_starts = True, 0
            self.ready_at = self.ready_at or monotonic()
            return
        job = worker.jobs[0]
        if message.get("memory"):
            worker.swollen = True
            return
        if "beside" in message:
            job.at, worker.since = message["beside"], monotonic()  # each file has the whole of the time
            return
        for slot, index, position in message.get("filled", ()):
            worker.leases.remove(slot)
            self.slots.fill(slot, Tag(job, job.deaths, index, position))
        for index, reason, position in message.get("held", ()):
            self._on_held(Held(job, job.deaths, index, reason, position))
        job.seen += len(message.get("filled", ())) + len(message.get("held", ()))
        if "ms" not in message:
            worker.hungry, worker.since = True, None
            return
        self.decode_ms += message["ms"]
        job.sha256, job.window = message.get("sha256"), message.get("window")
        job.series = None if message.get("series") is None else Series(**message["series"])
        worker.jobs.popleft()
        worker.since = monotonic() if worker.jobs else None
        if "failed" in message:
            self._fail(job, message["failed"])
        elif job.seen == 0:
            self._fail(job, "the file holds no slice")
        else:
            job.total = job.seen
            self._on_decoded(job)

    def _lost(self, worker: _Worker) -> None:
        """A worker has died, hangs in its start, or talks nonsense."""
        how = self._drop(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise LitsError(f"Decode workers do not start ({how}): {worker.process.said}")
        if worker.jobs:
            too_much = f"decoding took more than {self._settings.memory_limit_mib} MiB of memory"
            reason = too_much if worker.swollen else f"the decoder died ({how})"
            self._end_badly(worker.jobs.popleft(), reason, attempts=_ATTEMPTS)
        self._again.extendleft(reversed([*worker.jobs, *worker.lot]))
        if not worker.ready:
            self.start()

    def _end_badly(self, job: Job, reason: str, *, attempts: int) -> None:
        """A decoder ended over a job: it fails after so many times, unless one of its neighbours is to blame."""
        at, job.at = job.at, None
        job.deaths += 1
        job.died[at] += 1
        if job.died[at] >= attempts:
            if at is None:
                self._fail(job, reason)
                return
            job.beside = tuple(None if place == at else source for place, source in enumerate(job.beside))
        job.seen, job.total = 0, None
        self._on_again(job)
        self._again.append(job)

    def _fail(self, job: Job, reason: str) -> None:
        job.reason = reason
        self._on_failed(job)

    def _drop(self, worker: _Worker, *, take_back: bool = True) -> str:
        """End a worker's process and forget the worker, less its jobs; how it ended."""
        self._workers.remove(worker)
        how = worker.process.kill()
        for fd in (worker.process.out, worker.process.err):
            if fd in self._selector.get_map():
                self._selector.unregister(fd)
        worker.process.read_err()
        worker.process.close()
        if take_back:
            self.restarts += worker.ready
            self._take_back(worker)
        return how

    def _take_back(self, worker: _Worker) -> None:
        for slot in worker.leases:
            self.slots.give_back(slot)
        worker.leases.clear()


def start_pool(
    stack: ExitStack,
    selector: selectors.BaseSelector,
    contract: InputContract,
    options: ClassifyOptions,
    *,
    room: int,
    within: tuple[str, ...] | None,
    preload: tuple[str, ...] = (),
    **how: Any,
) -> tuple[WorkerPool, npt.NDArray[np.uint8]]:
    """Start decode workers, and the memory of `room` slots that they write to, uint8 [room, C, S, S]; both end with the
    stack. Pages are taken when they are first written. preload, within: as in WorkerSettings; how: as in WorkerPool."""
    memory_fd = create_memory(room * math.prod(contract.shape))
    stack.callback(os.close, memory_fd)
    settings = WorkerSettings(
        contract=contract,
        memory_fd=memory_fd,
        slots=room,
        memory_limit_mib=options.memory_limit_mib,
        preload=preload,
        within=within,
        reading=options.reading,
    )
    count = options.workers or tuning.default_workers()
    pool = WorkerPool(settings, count, selector, time_limit_s=options.time_limit_s, **how)
    stack.callback(pool.close)
    pool.start()
    return pool, map_slots(memory_fd, room, contract.shape)


def _makes_sense(worker: _Worker, message: Any) -> bool:
    """True for a message that this worker may send now: about its first job, about slots it holds."""
    if not isinstance(message, dict):
        return False
    if "ready" in message:
        return not worker.ready
    if "beside" in message and not _is_beside(worker, message["beside"]):
        return False
    filled, held = message.get("filled", []), message.get("held", [])
    if not all(isinstance(entry, list) and len(entry) == 3 for entry in (*filled, *held)):
        return False
    mine = bool(worker.jobs) and message.get("file") == worker.jobs[0].file
    return mine and worker.leases.issuperset(slot for slot, *_ in filled)


def _is_beside(worker: _Worker, place: Any) -> bool:
    """True for the place of a neighbour of the worker's first job."""
    beside = worker.jobs[0].beside if worker.jobs else ()
    return isinstance(place, int) and 0 <= place < len(beside) and beside[place] is not None
