"""The pipeline's one thread: files to workers, full buffers to the network, answers to the ledger, until all is done.

It waits on the workers' pipes and on one wake-up that the network's thread and Ctrl-C use. Nothing here blocks
for long: decoding and computing happen elsewhere, and a ledger commit takes milliseconds.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator
from time import monotonic, perf_counter

from lits_deploy.ledger import ABSTAINED, FAILED, OK, Counts, FileRow, Ledger, SliceRow
from lits_deploy.pipeline import tuning
from lits_deploy.pipeline.inference import Broken, InferenceThreads, Inferred, Opened
from lits_deploy.pipeline.judge import Judge, MaskJudge
from lits_deploy.pipeline.kept import Kept
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.options import Progress
from lits_deploy.pipeline.slots import Slots
from lits_deploy.pipeline.stop import Stop
from lits_deploy.pipeline.wakeup import Wakeup
from lits_deploy.pipeline.workers import Held, Job, Tag, WorkerPool


class Loop:
    """Runs the pipeline over the ledger's pending files.

    `pool` and `inference` are set by the caller, who also starts and closes them, before `wait_for_network`.
    most_workers: set by the caller where the pool may grow while the network waits for slices.
    kept: set by the caller where pixels are wanted afterwards. slices: answered by this loop, abstentions included.
    write_s: seconds in the ledger. seconds: `run` took.
    """

    def __init__(self, ledger: Ledger, stop: Stop, on_progress: Callable[[Progress], None] | None) -> None:
        self._ledger, self._stop, self._on_progress = ledger, stop, on_progress
        self.selector = selectors.DefaultSelector()
        self.wakeup = Wakeup()
        self.selector.register(self.wakeup, selectors.EVENT_READ, self._woken)
        self._stop.wakes(self.wakeup.wake)
        self.pool: WorkerPool
        self.inference: InferenceThreads
        self.opened: Opened | None = None
        self.kept: Kept | None = None
        self.most_workers = 0
        self._files: list[FileRow] = []
        self._forget: list[int] = []
        self._held: list[Held] = []
        self._last_commit = self._last_progress = 0.0
        self._in_network = 0
        self._input_ended = False
        self.slices = self.done = self.failed = 0
        self.write_s = self.seconds = 0.0
        self.first_result_at: float | None = None

    def close(self) -> None:
        """Stop listening."""
        self._stop.wakes(None)
        self.selector.close()
        self.wakeup.close()

    def turn(self, timeout: float | None) -> None:
        """Wait for something to happen, at most `timeout` seconds, and deal with it. Raises what broke the network."""
        before = monotonic()
        for key, _ in self.selector.select(timeout):
            if self.selector.get_map().get(key.fileobj) is key:  # not closed by an earlier one of these
                key.data()
        took = monotonic() - before
        if timeout is not None and took > timeout + 1.0:
            self.pool.forgive(took)  # the program was stopped or the machine slept, and so did the decoders
        self.pool.check_time()

    def wait_for_network(self) -> Opened:
        """Wait until the network is loaded; KeyboardInterrupt if asked to stop before."""
        while self.opened is None:
            if self._stop.requested:
                raise KeyboardInterrupt
            self.turn(0.5)
        return self.opened

    def run(
        self, slots: Slots[Tag], jobs: Iterator[Job], counts: Counts, judge: Judge | MaskJudge, naming: Naming
    ) -> None:
        """Have all `jobs` answered; returns early, in good order, when asked to stop."""
        self._slots, self._jobs, self._counts, self._judge, self._naming = slots, jobs, counts, judge, naming
        self.pool.slots = slots
        self._started = self._last_commit = monotonic()  # again at the first file: workers may be starting still
        self._any_file = False
        self._looked_at, self._had_waited = monotonic(), self.inference.wait_s
        while True:
            if not self._stop.requested:
                self.pool.feed(self._next_job)
                for batch in slots.take_ready(end_of_input=self._input_ended and not self.pool.busy):
                    self._in_network += 1
                    self.inference.submit(batch, slots.memory[batch.first : batch.first + len(batch.tags)])
            else:
                self._in_network -= len(self.inference.cancel())  # only what the network is at is finished
            if not self._in_network and (self._stop.requested or (self._input_ended and not self.pool.busy)):
                break
            self.turn(self._timeout())
            if self._files and monotonic() - self._last_commit > tuning.COMMIT_EVERY_S:
                self._commit([])
            self._grow_where_starved()
            self._report(final=False)
        self._commit([])
        self.seconds = monotonic() - self._started
        self._report(final=True)

    def decoded(self, job: Job) -> None:
        """All slices of a file lie in slots; their answers may even have come."""
        if job.written == job.total:
            self._complete(job)

    def held_back(self, held: Held) -> None:
        """A slice is not to be judged: that is its answer."""
        self._held.append(held)
        held.job.written += 1

    def failed_file(self, job: Job) -> None:
        """A file is a failure."""
        if self.kept is not None:
            self.kept.forget(job)
        self._files.append(
            FileRow(job.file, FAILED, job.reason, self._naming.sha256(job), None, self._naming.series(job))
        )
        self.failed += 1

    def start_again(self, job: Job) -> None:
        """A file is decoded anew: what the ledger has of it goes with the next commit."""
        if self.kept is not None:
            self.kept.forget(job)
        if job.written:
            self._forget.append(job.file)
            job.written = 0

    def _grow_where_starved(self) -> None:
        """Reading is to be the bottleneck only where no core is left for it."""
        spent = monotonic() - self._looked_at
        if spent < tuning.GROW_EVERY_S or self._input_ended or self.pool.count >= self.most_workers:
            return
        waited = self.inference.wait_s
        if waited - self._had_waited > tuning.STARVED * spent:
            self.pool.grow()
        self._looked_at, self._had_waited = monotonic(), waited

    def _next_job(self) -> Job | None:
        if not self._any_file:
            self._any_file, self._started = True, monotonic()
        job = next(self._jobs, None)
        self._input_ended = job is None
        return job

    def _woken(self) -> None:
        self.wakeup.drain()
        while not self.inference.events.empty():
            event = self.inference.events.get()
            if isinstance(event, Broken):
                raise event.error
            if isinstance(event, Opened):
                self.opened = event
            else:
                self._answered(event)

    def _answered(self, inferred: Inferred) -> None:
        self._in_network -= 1
        rows = []
        answers = zip(inferred.batch.tags, self._judge.answers(inferred.output), strict=True)
        for slot, (tag, answer) in enumerate(answers, start=inferred.batch.first):
            job = tag.job
            if job.reason is not None or tag.attempt != job.deaths:
                continue  # a slice of a file that has failed since, or is being decoded anew
            status = OK if answer.label is not None else ABSTAINED if answer.unsure else FAILED
            position = self._naming.position(job, tag.position)
            rows.append(SliceRow(job.file, tag.index, status, *answer[:5], position, answer.labels))
            self.slices += status != FAILED
            if self.kept is not None and answer.p2 is not None:
                self.kept.add(job, tag.index, answer.p2, self._slots.memory[slot])
            job.written += 1
            if job.written == job.total:
                self._complete(job)
        self._slots.release(inferred.batch)
        self._commit(rows)
        self.first_result_at = self.first_result_at or monotonic()

    def _complete(self, job: Job) -> None:
        if self.kept is not None:
            self.kept.done(job)
        self._files.append(FileRow(job.file, OK, None, self._naming.sha256(job), job.window, self._naming.series(job)))

    def _commit(self, rows: list[SliceRow]) -> None:
        if rows or self._files or self._forget or self._held:
            started = perf_counter()
            self._ledger.record([*rows, *self._held_rows()], self._files, self._forget)
            self.write_s += perf_counter() - started
            self.done += len(self._files)
            self._files, self._forget, self._held = [], [], []
        self._last_commit = monotonic()

    def _held_rows(self) -> Iterator[SliceRow]:
        for held in self._held:
            job = held.job
            if job.reason is None and held.attempt == job.deaths:  # the file has not failed since, nor begun anew
                place = self._naming.position(job, held.position)
                yield SliceRow(job.file, held.index, ABSTAINED, held.reason, None, None, None, None, place)

    def _timeout(self) -> float | None:
        times = [time for time in (self.pool.next_deadline(),) if time is not None]
        if self._files:
            times.append(self._last_commit + tuning.COMMIT_EVERY_S)
        return max(0.0, min(times) - monotonic()) if times else None

    def _report(self, *, final: bool) -> None:
        now = monotonic()
        if self._on_progress is None or (now - self._last_progress < tuning.PROGRESS_EVERY_S and not final):
            return
        self._last_progress = now
        halved = f"batches of {self.inference.most}: the device is short of memory" if self.inference.halved else ""
        self._on_progress(
            Progress(
                files=self._counts.all,
                done=self._counts.ok + self._counts.failed + self.done,
                failed=self._counts.failed + self.failed,
                slices=self.slices,
                seconds=now - self._started,
                note=halved,
            )
        )
