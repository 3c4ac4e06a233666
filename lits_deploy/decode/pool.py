"""The parent's side of the decode workers: hand out files and slots, check their answers, replace the dead.

A file whose worker dies gets a second try in a fresh one: the death may have come from outside. A second death, or more
time than the limit, is a failure of that file; the files behind it in the worker's queue go to others. Where it happens
over a neighbour of the file (`DecodeJob.neighbours`), the file is decoded once more without that neighbour.
Everything here runs in one thread and waits for nobody.
"""

from __future__ import annotations

import selectors
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from time import monotonic
from typing import Any

from lits_deploy.decode.job import Again, DecodeJob, Ended, NeighbourSource
from lits_deploy.decode.process import WorkerProcess
from lits_deploy.decode.settings import LOT, QUEUE_DEPTH, WORKER_START_S, DecodeSettings
from lits_deploy.decode.slots import ReadyBatch, Slices, Slots
from lits_deploy.decode.spool import Fetched, Spool
from lits_deploy.errors import LitsError
from lits_deploy.scans import Frame, SeriesHeader
from lits_deploy.scans.appearance import is_look
from lits_deploy.series.facts import SliceHeader

_LONG_PATH = 1000  # characters, up to 6 bytes each; a full queue of them must fit a pipe, or the parent would stand
_ATTEMPTS = 2
_FAILED_STARTS = 5  # in a row, before the installation is blamed


@dataclass(eq=False)
class _JobUnderWay:
    """A job on its way.

    sent: the job as workers get it; fetched: whose objects they read (`decode.spool`), until they are done with.
    attempt: counts up where it begins anew or fails, so that an earlier one's slices are known. died: how many decoders
    over which neighbour (None: over the file itself); at: the neighbour that is decoded now; neighbours: still used.
    written: slices in slots; released: of them; ended: what is said once all are.
    """

    job: DecodeJob
    sent: DecodeJob
    neighbours: tuple[NeighbourSource | None, ...]
    fetched: Fetched | None = None
    attempt: int = 0
    died: Counter[int | None] = field(default_factory=Counter)
    at: int | None = None
    written: int = 0
    released: int = 0
    excluded: list[Frame] = field(default_factory=list)
    ended: Ended | None = None

    def message(self) -> dict[str, Any]:
        """As a worker takes it (`decode.worker`)."""
        job = self.sent
        extra = {
            "member": job.member,
            "mtime_ns": job.mtime_ns,
            "headers": job.headers or None,
            "only": job.only,
            "neighbours": self.neighbours or None,
        }
        given = {key: value for key, value in extra.items() if value is not None}
        return {"file": job.file, "path": job.path, "reader": job.reader, **given}

    @property
    def letters(self) -> int:
        """Of all paths in the message."""
        return len(self.sent.path) + sum(len(source.path) for source in self.neighbours if source is not None)

    def begin_anew(self) -> None:
        """Forget what has come of it."""
        self.attempt += 1
        self.written = self.released = 0
        self.excluded = []


@dataclass(frozen=True)
class Tag:
    """Whose slice lies in a slot."""

    job: DecodeJob
    frame: Frame
    _work: _JobUnderWay
    _attempt: int

    @property
    def counts(self) -> bool:
        """False once its file has failed, or is decoded anew."""
        return self._attempt == self._work.attempt


@dataclass(eq=False)
class _Worker:
    process: WorkerProcess
    started: float
    ready: bool = False
    hungry: bool = False  # its file has more slices than it has slots
    swollen: bool = False  # it reported too much memory, and ends
    forget: bool = False  # its unused slots were taken back; the next message says so
    since: float | None = None  # when decoding of its first job began or went on; None while nothing is decoded
    jobs: deque[_JobUnderWay] = field(default_factory=deque)
    lot: deque[_JobUnderWay] = field(default_factory=deque)  # jobs that are kept for it
    leases: set[int] = field(default_factory=set)

    def tell(self, slots: list[int], work: _JobUnderWay | None = None) -> None:
        """Send slots, and a job with them."""
        message: dict[str, Any] = {"slots": slots}
        if work is not None:
            message |= work.message()
            self.jobs.append(work)
        if self.forget:
            message["forget"], self.forget = True, False
        self.leases.update(slots)
        self.process.send(message)
        if self.since is None:
            self.since = monotonic()


class Pool:
    """Workers that turn jobs into filled slots; what becomes of files is put into `events`.

    fd: the memory that they write to; memory: the same, uint8 [slots, C, S, S].
    restarts: workers that were replaced; decode_ms: of all workers together; ready_at: when the first one was.
    """

    def __init__(
        self,
        settings: DecodeSettings,
        fd: int,
        memory: Slices,
        selector: selectors.BaseSelector,
        spool: Spool | None = None,
    ) -> None:
        """spool: fetches what jobs name, for workers to read."""
        self._settings, self._fd, self._memory, self._selector = settings, fd, memory, selector
        self._spool, self._files = spool, () if spool is None else spool.descriptors
        self._lot = LOT if settings.contract.channels > 1 else 1
        self.count = settings.first_workers
        self.events: deque[Ended | Again] = deque()
        self.restarts = 0
        self.decode_ms = 0.0
        self.ready_at: float | None = None
        self._workers: list[_Worker] = []
        self._again: deque[_JobUnderWay] = deque()
        self._failed_starts = 0
        self._slots, self._jobs = self._nothing()
        self.input_ended = True

    def start(self) -> None:
        """Start workers until there are `count`; they become ready by themselves."""
        while len(self._workers) < self.count:
            worker = _Worker(WorkerProcess(self._settings, self._fd, len(self._memory), self._files), monotonic())
            self._workers.append(worker)
            self._selector.register(worker.process.out, selectors.EVENT_READ, partial(self._read, worker))
            self._selector.register(worker.process.err, selectors.EVENT_READ, partial(self._read_err, worker))

    def begin(self, slots: Slots[Tag], jobs: Iterator[DecodeJob]) -> None:
        """Take these jobs from now on."""
        self._slots, self._jobs, self.input_ended = slots, jobs, False
        if self._spool is not None:
            self._spool.begin(jobs)

    def end(self) -> None:
        """Drop what has not been decoded: whatever comes of it is nobody's."""
        for worker in list(self._workers):
            if worker.jobs:
                self._drop(worker)
            elif worker.leases:
                worker.leases.clear()
                worker.forget = True
            worker.lot.clear()
        self._again.clear()
        self.events.clear()
        self._slots, self._jobs = self._nothing()
        self.input_ended = True
        if self._spool is not None:
            self._spool.end()

    def grow(self) -> None:
        """Start one more."""
        self.count += 1
        self.start()

    @property
    def starving(self) -> bool:
        """True while objects are awaited: more workers would wait for them, too."""
        return self._spool is not None and self._spool.starving

    @property
    def busy(self) -> bool:
        """True while there is a job that has not been decoded."""
        return not self.input_ended or bool(self._again) or any(worker.jobs or worker.lot for worker in self._workers)

    def feed(self) -> None:
        """Give every worker as much work as its queue takes and the free slots allow."""
        for worker in self._workers:
            if worker.hungry and (slot := self._slots.lease()) is not None:
                worker.hungry = False
                worker.tell([slot])
        while idle := [w for w in self._workers if w.ready and not w.hungry and len(w.jobs) < QUEUE_DEPTH]:
            worker = min(idle, key=lambda w: len(w.jobs))
            work = self._next_of(worker)
            if work is None:
                break
            if work.fetched is not None and work.fetched.reason is not None:
                self._fail(work, Ended(work.job, work.fetched.reason))
                continue
            needs_slot = not work.job.headers and len(worker.leases) <= len(worker.jobs)
            lease = self._slots.lease() if needs_slot else None
            if (needs_slot and lease is None) or (worker.jobs and work.letters > _LONG_PATH):
                worker.lot.appendleft(work)
                if lease is not None:
                    self._slots.give_back(lease)
                break
            worker.tell([] if lease is None else [lease], work)
        for worker in self._workers:
            worker.process.flush()
            if not worker.jobs and worker.leases:
                self._take_back(worker)
                worker.forget = True
        if len(self._workers) < self.count and self.busy:
            self.start()

    def release(self, batch: ReadyBatch[Tag], *, done: bool) -> list[Ended]:
        """A batch's slots are free; the files that end with it. done: its slices count towards their ends."""
        self._slots.release(batch)
        counting = [tag._work for tag in batch.tags if done and tag.counts]
        for work in counting:
            work.released += 1
        return [work.ended for work in dict.fromkeys(counting) if work.ended and work.released == work.written]

    def next_deadline(self) -> float | None:
        """When (monotonic seconds) `check_time` has something to do, if nothing is heard before."""
        times = [w.since + self._settings.time_limit_s for w in self._workers if w.ready and w.since is not None]
        times += [w.started + WORKER_START_S for w in self._workers if not w.ready]
        return min(times, default=None)

    def forgive(self, seconds: float) -> None:
        """Give every worker that much more time."""
        for worker in self._workers:
            worker.started += seconds
            worker.since = None if worker.since is None else worker.since + seconds

    def check_time(self) -> None:
        """End workers that are over their time."""
        now, limit_s = monotonic(), self._settings.time_limit_s
        for worker in list(self._workers):
            if not worker.ready and now - worker.started > WORKER_START_S:
                self._lost(worker)
            elif worker.ready and worker.since is not None and now - worker.since > limit_s:
                self._replace(worker)
                self._end_badly(worker, f"decoding took longer than {limit_s:g} s", attempts=1)

    def close(self) -> None:
        """End all workers; nothing is asked of them any more."""
        for worker in list(self._workers):
            self._drop(worker)

    def _nothing(self) -> tuple[Slots[Tag], Iterator[DecodeJob]]:
        return Slots(self._memory, buffers=0, batch=1), iter(())

    def _next_of(self, worker: _Worker) -> _JobUnderWay | None:
        """The next job for a worker: tried before, of its lot, or at the end of the input of the longest lot."""
        if self._again:
            return self._again.popleft()
        if not worker.lot and not self.input_ended:
            worker.lot.extend(self._input())
        if worker.lot:
            return worker.lot.popleft()
        longest = max((one.lot for one in self._workers), key=len)
        return longest.pop() if longest else None

    def _input(self) -> Iterator[_JobUnderWay]:
        """A lot of the input, or as much of it as has been fetched."""
        if self._spool is None:
            jobs = list(islice(self._jobs, self._lot))
            self.input_ended = len(jobs) < self._lot
            return (_JobUnderWay(job, job, job.neighbours) for job in jobs)
        fetched = self._spool.take(self._lot)
        self.input_ended = self._spool.ended
        pairs = ((one, one.sent) for one in fetched)
        return (_JobUnderWay(one.job, sent, sent.neighbours, one) for one, sent in pairs)

    def _done_with(self, work: _JobUnderWay) -> None:
        """No worker reads a job's objects any more."""
        if self._spool is not None and work.fetched is not None:
            self._spool.release(work.fetched)
            work.fetched = None

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
        work = worker.jobs[0]
        if message.get("memory"):
            worker.swollen = True
            return
        if "neighbour" in message:
            work.at, worker.since = message["neighbour"], monotonic()  # each file has the whole of the time
            return
        for slot, index, header, checksum, look in message.get("filled", ()):
            worker.leases.remove(slot)
            frame = Frame(index=index, header=SliceHeader(**header), checksum=checksum, look=tuple(look))
            self._slots.fill(slot, Tag(work.job, frame, work, work.attempt))
            work.written += 1
        for index, reason, header in message.get("excluded", ()):
            work.excluded.append(Frame(index=index, excluded=reason, header=SliceHeader(**header)))
        if "ms" not in message:
            worker.hungry, worker.since = True, None
            return
        self.decode_ms += message["ms"]
        worker.jobs.popleft()
        worker.since = monotonic() if worker.jobs else None
        series = None if message.get("series") is None else SeriesHeader.from_json(message["series"])
        failed = message.get("failed") or (None if work.written or work.excluded else "the file holds no slice")
        ended = Ended(work.job, failed, message.get("sha256"), message.get("window"), series, tuple(work.excluded))
        if failed:
            self._fail(work, ended)
        else:
            self._done_with(work)
            work.ended = ended
            if work.released == work.written:
                self.events.append(ended)

    def _lost(self, worker: _Worker) -> None:
        """A worker has died, hangs in its start, or talks nonsense."""
        how = self._replace(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise LitsError(f"Decode workers do not start ({how}): {worker.process.said}")
        too_much = f"decoding took more than {self._settings.memory_limit_mib} MiB of memory"
        self._end_badly(worker, too_much if worker.swollen else f"the decoder died ({how})", attempts=_ATTEMPTS)
        if not worker.ready:
            self.start()

    def _end_badly(self, worker: _Worker, reason: str, *, attempts: int) -> None:
        """A decoder ended over its job: it fails after so many times, unless one of its neighbours is to blame."""
        behind = [*worker.jobs, *worker.lot]
        if worker.jobs:
            work = behind.pop(0)
            at, work.at = work.at, None
            work.died[at] += 1
            if at is None and work.died[at] >= attempts:
                self._fail(work, Ended(work.job, reason))
            else:
                if work.died[at] >= attempts:
                    work.neighbours = tuple(None if n == at else source for n, source in enumerate(work.neighbours))
                work.begin_anew()
                self.events.append(Again(work.job))
                self._again.append(work)
        self._again.extendleft(reversed(behind))

    def _fail(self, work: _JobUnderWay, ended: Ended) -> None:
        self._done_with(work)
        work.begin_anew()
        self.events.append(ended)

    def _replace(self, worker: _Worker) -> str:
        """End a worker, for another to take its place; how it ended."""
        how = self._drop(worker)
        self.restarts += worker.ready
        self._take_back(worker)
        return how

    def _drop(self, worker: _Worker) -> str:
        """End a worker's process and forget the worker, less its jobs; how it ended."""
        self._workers.remove(worker)
        how = worker.process.kill()
        for fd in (worker.process.out, worker.process.err):
            if fd in self._selector.get_map():
                self._selector.unregister(fd)
        worker.process.read_err()
        worker.process.close()
        return how

    def _take_back(self, worker: _Worker) -> None:
        for slot in worker.leases:
            self._slots.give_back(slot)
        worker.leases.clear()


def _makes_sense(worker: _Worker, message: Any) -> bool:
    """True for a message that this worker may send now: about its first job, about slots it holds."""
    if not isinstance(message, dict):
        return False
    if "ready" in message:
        return not worker.ready
    if "neighbour" in message and not _is_neighbour(worker, message["neighbour"]):
        return False
    filled, excluded = message.get("filled", []), message.get("excluded", [])
    if not all(isinstance(entry, list) and len(entry) == 5 and isinstance(entry[2], dict) for entry in filled):
        return False
    if not all(is_look(entry[4]) for entry in filled):
        return False
    if not all(isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], dict) for entry in excluded):
        return False
    mine = bool(worker.jobs) and message.get("file") == worker.jobs[0].job.file
    return mine and worker.leases.issuperset(slot for slot, *_ in filled)


def _is_neighbour(worker: _Worker, channel: Any) -> bool:
    """True for the channel of a neighbour of the worker's first job."""
    sources = worker.jobs[0].neighbours if worker.jobs else ()
    return isinstance(channel, int) and 0 <= channel < len(sources) and sources[channel] is not None
