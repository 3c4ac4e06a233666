"""The parent's side of the decode workers: hand out files and slots, judge their answers, replace the dead.

A file whose worker dies gets a second try in a fresh one: the death may have come from outside. A second death, or more
time than the limit, is a failure of that file; the files behind it in the worker's queue go to others. Everything here
runs in the pipeline's one thread and waits for nobody.
"""

from __future__ import annotations

import selectors
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any

from lits_deploy.errors import LitsError
from lits_deploy.ledger import PendingFile, SourceRow
from lits_deploy.pipeline import tuning
from lits_deploy.pipeline.process import WorkerProcess, WorkerSettings
from lits_deploy.pipeline.slots import Slots
from lits_deploy.scans import Series

_LONG_PATH = 1000  # characters, up to 6 bytes each; a full queue of them must fit a pipe, or the parent would stand
_ATTEMPTS = 2
_FAILED_STARTS = 5  # in a row, before the installation is blamed


@dataclass(eq=False)
class Job:
    """One file on its way through the pipeline.

    file: its number in the ledger; path: the operating system's (of its zip, if it is the zip's `member`); name: as
    discovery found it; kind, reader: of file, and the module that reads it. mtime_ns: of the zip when it was listed: of
    another one the member's number may mean another file.
    headers: tell of its slices and decode none; only: the indices of the slices to decode (None: all).
    deaths: decoders that died over it; it also tells an earlier attempt's slices from those of this one.
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
    deaths: int = 0
    seen: int = 0
    total: int | None = None
    written: int = 0
    sha256: str | None = None
    window: str | None = None
    series: Series | None = None
    reason: str | None = None

    @classmethod
    def of(
        cls, row: PendingFile | SourceRow, real_path: Callable[[str], str], readers: Mapping[str, str], **more: Any
    ) -> Job:
        """The job for a file of a discovery. real_path: the operating system's path of a path as discovery found it."""
        return cls(
            row.file, real_path(row.container or row.place), readers[row.kind], name=row.place, kind=row.kind,
            member=row.member, mtime_ns=None if row.member is None else row.mtime_ns, **more,
        )  # fmt: skip

    def message(self) -> dict[str, Any]:
        """As a worker takes it (`pipeline.worker`)."""
        extra = {"member": self.member, "mtime_ns": self.mtime_ns, "headers": self.headers or None, "only": self.only}
        told = {key: value for key, value in extra.items() if value is not None}
        return {"file": self.file, "path": self.path, "reader": self.reader, **told}


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
        on_decoded: Callable[[Job], None],
        on_held: Callable[[Held], None],
        on_failed: Callable[[Job], None],
        on_again: Callable[[Job], None],
    ) -> None:
        self._settings, self._count, self._selector, self._time_limit_s = settings, count, selector, time_limit_s
        self._on_decoded, self._on_held, self._on_failed, self._on_again = on_decoded, on_held, on_failed, on_again
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
        """True while a job is with a worker or waits for another try."""
        return bool(self._again) or any(worker.jobs for worker in self._workers)

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
            job = self._again.popleft() if self._again else next_job()
            self._input_ended = job is None
            if job is None or (worker.jobs and len(job.path) > _LONG_PATH):
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
                self._fail(worker.jobs.popleft(), f"decoding took longer than {self._time_limit_s:g} s")
                self._again.extendleft(reversed(worker.jobs))

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
            job = worker.jobs.popleft()
            job.deaths += 1
            if job.deaths < _ATTEMPTS:
                job.seen, job.total = 0, None
                self._on_again(job)
                self._again.append(job)
            elif worker.swollen:
                self._fail(job, f"decoding took more than {self._settings.memory_limit_mib} MiB of memory")
            else:
                self._fail(job, f"the decoder died ({how})")
        self._again.extendleft(reversed(worker.jobs))
        if not worker.ready:
            self.start()

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


def _makes_sense(worker: _Worker, message: Any) -> bool:
    """True for a message that this worker may send now: about its first job, about slots it holds."""
    if not isinstance(message, dict):
        return False
    if "ready" in message:
        return not worker.ready
    filled, held = message.get("filled", []), message.get("held", [])
    if not all(isinstance(entry, list) and len(entry) == 3 for entry in (*filled, *held)):
        return False
    mine = bool(worker.jobs) and message.get("file") == worker.jobs[0].file
    return mine and worker.leases.issuperset(slot for slot, *_ in filled)
