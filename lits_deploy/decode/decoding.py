"""Jobs in, their slices or the reason why not out: one iterator, in one thread, over supervised processes.

    with Decoding(settings, stop) as decoding:
        for event in decoding.run(jobs):
            if isinstance(event, Batch):      # pixels where the workers wrote them, which nobody writes to until
                decoding.release(event)       # they are released, now or while the iterator goes on
                                              # gives the `Ended` of its files, too
            elif isinstance(event, Ended):    # all that there is to say of a file, failed or not
            elif isinstance(event, Again):    # what came of this file so far is void
            else:                             # None: `wake` was called, or some time went by

The same workers serve one run after the other. What hangs, swells or dies costs its file and nothing else. Objects of a
store are fetched first (`decode.spool`).
"""

from __future__ import annotations

import os
import selectors
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Protocol

from lits_deploy.decode import slots
from lits_deploy.decode.job import Again, DecodeJob, Ended
from lits_deploy.decode.pool import Pool, Tag
from lits_deploy.decode.settings import GROW_EVERY_S, STARVED, DecodeSettings, buffers_for
from lits_deploy.decode.spool import Spool
from lits_deploy.decode.wakeup import Wakeup
from lits_deploy.scans import Frame

Batch = slots.ReadyBatch[Tag]

Event = Batch | Ended | Again | None

_LOOK_S = 0.5  # the longest wait, whatever the workers are at


class StoppedError(KeyboardInterrupt):
    """Asked to stop, and stopped in good order."""


class Stopping(Protocol):
    """A request to stop, as far as it is heeded here (`pipeline.stop`)."""

    requested: bool

    def wakes(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` at a request."""


@dataclass(frozen=True, kw_only=True)
class DecodingFigures:
    """first, workers: there are at first, and now; replaced: of those that died; decode_s: of all together; ready_at:
    the first one, in monotonic seconds."""

    first: int
    workers: int
    replaced: int
    decode_s: float
    ready_at: float | None


class Decoding:
    """Decode workers and the memory they write to. Use as a context manager.

    wake: makes `run` yield None soon, from any thread.
    """

    def __init__(self, settings: DecodeSettings, stop: Stopping, *, start: bool = True) -> None:
        """Starts the workers, which become ready by themselves; or, without `start`, with the first job."""
        self._settings, self._stop = settings, stop
        with ExitStack() as stack:
            self._selector = selectors.DefaultSelector()
            stack.callback(self._selector.close)
            wakeup = Wakeup()
            stack.callback(wakeup.close)
            self._selector.register(wakeup, selectors.EVENT_READ, wakeup.drain)
            self.wake = wakeup.wake
            room, shape = settings.room, settings.contract.shape
            fd = slots.create_memory(room * shape[0] * shape[1] * shape[2])
            stack.callback(os.close, fd)
            self._memory = slots.map_slots(fd, room, shape)
            spool = Spool(self.wake) if settings.objects else None
            if spool is not None:
                stack.callback(spool.close)
            self._pool = Pool(settings, fd, self._memory, self._selector, spool)
            stack.callback(self._pool.close)
            if start:
                self._pool.start()
            stop.wakes(self.wake)
            stack.callback(stop.wakes, None)
            self._stack = stack.pop_all()

    def __enter__(self) -> Decoding:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._stack.close()

    def run(
        self,
        jobs: Iterable[DecodeJob],
        *,
        batch: int = 8,
        lanes: int = 1,
        waited: Callable[[], float] | None = None,
    ) -> Iterator[Event]:
        """Decode these; see above. Ends early, with what is out released, where a stop is requested.

        batch: slices in one, if there are as many; lanes: batches that are computed at once.
        waited: seconds that somebody has waited for slices so far; workers are added while that is much of the time.
        """
        batch = min(batch, self._settings.most_batch)
        buffers = buffers_for(self._settings.most_workers, batch, lanes)
        book: slots.Slots[Tag] = slots.Slots(self._memory, buffers=buffers, batch=batch)
        pool, starved = self._pool, None if waited is None else Starved(waited)
        pool.begin(book, iter(jobs))
        try:
            while True:
                if not self._stop.requested:
                    pool.feed()
                    yield from list(book.take_ready(end_of_input=not pool.busy))
                while pool.events:
                    yield pool.events.popleft()
                if not book.any_out and not pool.events and (self._stop.requested or not pool.busy):
                    return
                self.wait(_LOOK_S)
                more = pool.count < self._settings.most_workers and not (pool.input_ended or pool.starving)
                if more and starved is not None and starved():
                    pool.grow()
                yield None
        finally:
            pool.end()

    def release(self, batch: Batch, *, done: bool = True) -> list[Ended]:
        """Give a batch's memory back; the files that end with it, which `run` then does not tell.

        done: its slices count towards their files' ends.
        """
        return self._pool.release(batch, done=done)

    def files(
        self, jobs: Iterable[DecodeJob], *, pixels: bool = False, **how: Any
    ) -> Iterator[tuple[Ended, list[Frame]]]:
        """Each file's end with all its slices in their order, and with a copy of their pixels if asked.

        how: as for `run`. Raises StoppedError where a stop is requested.
        """
        coming: defaultdict[DecodeJob, list[Frame]] = defaultdict(list)
        for event in self.run(jobs, **how):
            ended = [event] if isinstance(event, Ended) else []
            if isinstance(event, slots.ReadyBatch):
                for one, tag in zip(event.pixels, event.tags, strict=True):
                    if tag.counts:
                        coming[tag.job].append(replace(tag.frame, pixels=one.copy()) if pixels else tag.frame)
                ended = self.release(event)
            elif isinstance(event, Again):
                coming.pop(event.job, None)
            for end in ended:
                frames = [*coming.pop(end.job, ()), *end.excluded]
                yield end, sorted(frames, key=lambda frame: frame.index)
        if self._stop.requested:
            raise StoppedError

    def wait(self, timeout: float) -> None:
        """Wait for something to happen, at most `timeout` seconds, and deal with it."""
        before = monotonic()
        deadline = self._pool.next_deadline()
        if deadline is not None:
            timeout = max(0.0, min(timeout, deadline - before))
        for key, _ in self._selector.select(timeout):
            if self._selector.get_map().get(key.fileobj) is key:  # not closed by an earlier one of these
                key.data()
        took = monotonic() - before
        if took > timeout + 1.0:
            self._pool.forgive(took)  # the program was stopped or the machine slept, and so did the workers
        self._pool.check_time()

    @property
    def figures(self) -> DecodingFigures:
        """How it went so far."""
        pool = self._pool
        return DecodingFigures(
            first=self._settings.first_workers,
            workers=pool.count,
            replaced=pool.restarts,
            decode_s=pool.decode_ms / 1000,
            ready_at=pool.ready_at,
        )


class Starved:
    """Says, every so often, whether too much of the time since was spent in waiting for slices."""

    def __init__(self, waited: Callable[[], float]) -> None:
        self._waited = waited
        self._looked_at, self._before = monotonic(), waited()

    def __call__(self) -> bool:
        """True at most every GROW_EVERY_S."""
        now, waited = monotonic(), self._waited()
        spent = now - self._looked_at
        if spent < GROW_EVERY_S:
            return False
        starved = waited - self._before > STARVED * spent
        self._looked_at, self._before = now, waited
        return starved
