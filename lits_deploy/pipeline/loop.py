"""The pipeline's one thread: slices to the network, answers and ends of files to the ledger, until all is done.

Nothing here blocks for long: decoding and computing happen elsewhere, and a ledger commit takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, perf_counter

from lits_deploy.decode.job import Again, DecodeJob, Ended
from lits_deploy.ledger import EXCLUDED, FAILED, OK, FileCounts, FileRow, SliceRow
from lits_deploy.pipeline import defaults
from lits_deploy.pipeline.context import NetworkRun
from lits_deploy.pipeline.decide import MaskDecider, PairDecider, SliceDecider
from lits_deploy.pipeline.inference import Inferred
from lits_deploy.pipeline.options import Progress
from lits_deploy.scans.appearance import packed


class Loop:
    """Has jobs answered.

    counts: of the files before. batch: slices in one. slices: answered by this loop, abstentions included; done,
    failed: files. write_s: seconds in the ledger; seconds: `run` took, from its first file.
    """

    def __init__(
        self, run: NetworkRun, decider: SliceDecider | PairDecider | MaskDecider, *, counts: FileCounts, batch: int
    ) -> None:
        self._run, self._decider, self._counts, self._batch = run, decider, counts, batch
        self._slices: list[SliceRow] = []
        self._files: list[FileRow] = []
        self._forget: list[int] = []
        self._started = self._last_commit = monotonic()
        self._last_progress = 0.0
        self.slices = self.done = self.failed = 0
        self.write_s = self.seconds = 0.0
        self.first_result_at: float | None = None

    def run(self, jobs: Iterator[DecodeJob]) -> None:
        """Have all of them answered; returns early, in good order, when asked to stop."""
        network = self._run.network
        assert network.opened is not None
        lanes = network.opened.lanes
        try:
            for event in self._run.decoding.run(
                self._timed(jobs), batch=self._batch, lanes=lanes, waited=lambda: network.wait_s
            ):
                if isinstance(event, Ended):
                    self._ended(event)
                elif isinstance(event, Again):
                    self._drop(event.job)
                    self._forget.append(event.job.file)  # what the ledger has of it goes with the next commit
                elif event is not None:
                    network.submit(event)
                else:
                    self._go_on()
        finally:
            self._commit()  # also what was answered before something broke
        self.seconds = monotonic() - self._started
        self._report(final=True)

    def _timed(self, jobs: Iterator[DecodeJob]) -> Iterator[DecodeJob]:
        self._started = monotonic()  # at the first file: workers may have been starting still
        yield from jobs

    def _go_on(self) -> None:
        """Take what the network has answered; commit and tell where it is time."""
        for inferred in self._run.network.take():
            self._answered(inferred)
        if self._run.stop.requested:  # only what the network is at is finished
            for batch in self._run.network.cancel():
                self._run.decoding.release(batch, done=False)
        if (self._files or self._slices) and monotonic() - self._last_commit > defaults.COMMIT_EVERY_S:
            self._commit()
        self._report(final=False)

    def _answered(self, inferred: Inferred) -> None:
        batch, naming = inferred.batch, self._run.naming
        answers = self._decider.answers(*inferred.outputs)
        for tag, pixels, answer in zip(batch.tags, batch.pixels, answers, strict=True):
            if not tag.counts:
                continue  # its file has failed since, or is being decoded anew
            job, frame = tag.job, tag.frame
            status = answer.status
            columns = naming.facts(job, frame.header), naming.pixels(frame.checksum)
            seen = packed(frame.look) if frame.look else None
            self._slices.append(
                SliceRow(job.file, frame.index, status, *answer[:5], *columns, answer.labels, seen, answer.second)
            )
            self.slices += status != FAILED
            if self._run.keeper is not None and answer.lesion is not None:
                self._run.keeper.add(job.file, frame.index, answer.lesion, pixels)
        for end in self._run.decoding.release(batch):
            self._ended(end)
        self.first_result_at = self.first_result_at or monotonic()

    def _ended(self, end: Ended) -> None:
        job, naming = end.job, self._run.naming
        sha256, header = naming.sha256(end.sha256), naming.header(job, end.series)
        if end.reason is not None:
            self._drop(job)
            self._files.append(FileRow(job.file, FAILED, end.reason, sha256, None, header))
            self.failed += 1
            return
        for frame in end.excluded:
            facts = naming.facts(job, frame.header)
            row = SliceRow(job.file, frame.index, EXCLUDED, frame.excluded, None, None, None, None, facts)
            self._slices.append(row)
        if self._run.keeper is not None:
            self._run.keeper.done(job.file)
        self._files.append(FileRow(job.file, OK, None, sha256, end.window, header))

    def _drop(self, job: DecodeJob) -> None:
        self._slices = [row for row in self._slices if row.file != job.file]
        if self._run.keeper is not None:
            self._run.keeper.forget(job.file)

    def _commit(self) -> None:
        if self._slices or self._files or self._forget:
            started = perf_counter()
            self._run.ledger.record(self._slices, self._files, self._forget)
            self.write_s += perf_counter() - started
            self.done += len(self._files)
            self._slices, self._files, self._forget = [], [], []
        self._last_commit = monotonic()

    def _report(self, *, final: bool) -> None:
        now = monotonic()
        if self._run.hooks.on_progress is None or (now - self._last_progress < defaults.PROGRESS_EVERY_S and not final):
            return
        self._last_progress = now
        network = self._run.network
        halved = f"batches of {network.most}: the device is short of memory" if network.halved else ""
        self._run.hooks.on_progress(
            Progress(
                files=self._counts.all,
                done=self._counts.ok + self._counts.failed + self.done,
                failed=self._counts.failed + self.failed,
                slices=self.slices,
                seconds=now - self._started,
                note=halved,
            )
        )
