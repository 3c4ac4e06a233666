"""Supervised decoding without a network: for surveys of headers, and for pictures of slices that were judged before.

The same workers, limits and supervision as in a run (`pipeline.workers`): what hangs, swells or dies costs its file.
"""

from __future__ import annotations

import math
import selectors
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from time import monotonic

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.pipeline import tuning
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.slots import Slots
from lits_deploy.pipeline.stop import Stop
from lits_deploy.pipeline.workers import Held, Job, Tag, WorkerPool, start_pool

_BATCH = 8
_LOOK_S = 0.5  # a request to stop is seen that soon, whatever the decoders are at


def fetch(
    jobs: Iterable[Job],
    contract: InputContract,
    options: ClassifyOptions,
    *,
    on_slice: Callable[[Tag, npt.NDArray[np.uint8]], None] = lambda _tag, _pixels: None,
    on_held: Callable[[Held], None] = lambda _: None,
    on_done: Callable[[Job], None] = lambda _: None,
    stop: Stop | None = None,
    within: tuple[str, ...] | None = None,
) -> None:
    """Decode every job (`Job.headers`, `Job.only`) and hand out what comes, in this thread.

    options: workers, limits and reading count.
    on_slice: uint8 [C, S, S], valid during the call; on_held: slices that are not to be judged, and with headers every
    slice; on_done: after all of a file's, with `job.reason` where it failed. A file whose decoder died is handed out
    anew: `Tag.attempt` and `Held.attempt` then differ from `job.deaths`, so keep slices by job and drop older attempts.
    within: where files have to lie (`scans.within`). Raises KeyboardInterrupt when `stop` is requested.
    """
    selector = selectors.DefaultSelector()
    buffers = tuning.buffers_for(options.workers or tuning.default_workers(), _BATCH)
    with ExitStack() as stack:
        stack.callback(selector.close)
        pool, memory = start_pool(
            stack,
            selector,
            contract,
            options,
            room=buffers * _BATCH,
            within=within,
            on_decoded=on_done,
            on_held=on_held,
            on_failed=on_done,
            on_again=lambda _: None,
        )
        pool.slots = Slots(memory, buffers=buffers, batch=_BATCH)
        _serve(pool, pool.slots, selector, iter(jobs), on_slice, stop or Stop())


def _serve(
    pool: WorkerPool,
    slots: Slots[Tag],
    selector: selectors.BaseSelector,
    jobs: Iterable[Job],
    on_slice: Callable[[Tag, npt.NDArray[np.uint8]], None],
    stop: Stop,
) -> None:
    source, ended = iter(jobs), False

    def next_job() -> Job | None:
        nonlocal ended
        job = next(source, None)
        ended = job is None
        return job

    while True:
        pool.feed(next_job)
        for batch in list(slots.take_ready(end_of_input=True)):
            for number, tag in enumerate(batch.tags):
                on_slice(tag, slots.memory[batch.first + number])
            slots.release(batch)
        if ended and not pool.busy:
            return
        if stop.requested:
            raise KeyboardInterrupt
        deadline = min(pool.next_deadline() or math.inf, monotonic() + _LOOK_S)
        for key, _ in selector.select(max(0.0, deadline - monotonic())):
            if selector.get_map().get(key.fileobj) is key:
                key.data()
        pool.check_time()
