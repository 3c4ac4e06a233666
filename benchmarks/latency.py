"""Steady-state latency, all candidates in turns.

A machine drifts: it heats up, other programs come and go. So the candidates do not run one after another; each round
gives every one of them a block of calls, and the order moves on by one from round to round. Whatever the drift, it hits
all alike, and a ratio of two rows of one run means something. Before each block the process falls silent, and one call
is made that is not timed: it wakes the candidate's threads. Nothing that was timed is ever dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.inputs import Slices
from benchmarks.percentiles import needed_samples, summarise_ms
from benchmarks.telemetry import EnergyMeter
from lits_deploy.errors import LitsError
from lits_deploy.runtime import Outputs, Runtime

ROUNDS = 20
"""Most rounds for a batch size."""

QUIET_STEP_S, QUIET_MOST_S = 0.02, 1.0
"""Before a block, this process must have used no processor for one step; it is waited for at most QUIET_MOST_S.

A runtime's threads go on spinning after its last call, in wait of the next: ONNX Runtime's for 50 ms and more. They
would take a core from the next candidate.
"""


@dataclass(frozen=True, kw_only=True)
class MeasuringEffort:
    """How long to measure a row.

    samples: enough; cap_s: seconds of timed calls after which fewer will do; floor: calls made in any case; least_s:
    seconds of timed calls that there must be, however many calls that takes.
    Warm-up lasts `warmup_calls` and `warmup_s`, whichever is longer, but ends after `warmup_cap_s` and two calls.
    """

    samples: int = needed_samples(99)
    cap_s: float = 20.0
    floor: int = needed_samples(50)
    least_s: float = 0.0
    warmup_calls: int = 10
    warmup_s: float = 1.0
    warmup_cap_s: float = 5.0


FULL = MeasuringEffort()
QUICK = MeasuringEffort(cap_s=2.0, floor=3, warmup_s=0.5, warmup_cap_s=1.0)
STRICT = MeasuringEffort(cap_s=60.0, least_s=60.0, floor=needed_samples(90), warmup_s=5.0, warmup_cap_s=20.0)
"""A minute of timed calls for every row, and calls enough for p90; batch 1 gets them for p99 (`strict_for`)."""

WINDOWS = 3
"""Parts of a row's timed calls whose rates are compared (Model Navigator's three windows)."""

STEADY = 0.10
"""Largest spread of the windows' rates, over their mean, of a row that counts as steady."""


def strict_for(batch: int) -> MeasuringEffort:
    """STRICT for a batch size."""
    return replace(STRICT, floor=STRICT.samples) if batch == 1 else STRICT


class SliceFeed:
    """Batches of distinct slices, in a circle: each differs from the one before, none is copied when it is taken."""

    def __init__(self, slices: Slices, max_batch: int) -> None:
        self.count = len(slices)
        self._circle = slices[np.arange(self.count + max_batch) % self.count]

    def batch(self, position: int, size: int) -> Slices:
        """`size` slices from `position` on, a contiguous view."""
        return self._circle[position : position + size]

    def indices(self, position: int, size: int) -> npt.NDArray[np.int64]:
        """Which slices those are."""
        return np.arange(position, position + size, dtype=np.int64) % self.count

    def after(self, position: int, size: int) -> int:
        """Where the next batch begins; where the slices do not fill a batch, one further."""
        return (position + (size if size < self.count else 1)) % self.count


Check = Callable[[npt.NDArray[np.int64], Outputs], "str | None"]
"""(indices of the slices, outputs) → why they are not what they should be, or None."""


@dataclass
class Lane:
    """One candidate in the rounds: its open runtime, and what was measured. seconds: one for each timed call.

    error: why it stopped; its latencies then count for nothing.
    """

    name: str
    runtime: Runtime
    check: Check
    seconds: list[float] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    window_s: float = 0.0
    estimate_s: float = 0.0
    position: int = 0
    error: str | None = None
    meter: EnergyMeter | None = None
    joules: float = 0.0

    def result(self, batch: int) -> dict[str, Any]:
        """`latency_ms` (see `percentiles`), `slices_per_second` over the same windows, `timed_s`, `blocks`, `energy`.

        windows: rates of the calls' thirds in slices per second, and their spread over the mean. distribution_ms:
        see `distribution`.
        """
        slices = len(self.seconds) * batch
        return {
            "latency_ms": summarise_ms(self.seconds),
            "slices_per_second": slices / self.window_s if self.window_s > 0 else None,
            "timed_s": self.window_s,
            "blocks": len(self.blocks),
            "windows": windows(self.seconds, batch),
            "energy": energy(self.meter, self.joules, slices),
            "distribution_ms": distribution(self.seconds),
        }

    def calls_left(self, effort: MeasuringEffort) -> int:
        """Calls still to time: up to `samples`, as many as `cap_s` holds at the pace so far, at least `floor`."""
        pace = self.window_s / len(self.seconds) if self.seconds else self.estimate_s
        fit = effort.samples if pace <= 0 else int(effort.cap_s / pace)
        least = math.ceil(effort.least_s / pace) if pace > 0 else 0
        return max(effort.floor, min(effort.samples, fit), least) - len(self.seconds)


def windows(seconds: Sequence[float], batch: int) -> dict[str, Any] | None:
    """Rates of the first, second and last third of the calls, and (largest − smallest) / mean; None from too few."""
    if len(seconds) < WINDOWS:
        return None
    edges = [len(seconds) * part // WINDOWS for part in range(WINDOWS + 1)]
    rates = [(end - start) * batch / math.fsum(seconds[start:end]) for start, end in pairwise(edges)]
    return {"slices_per_second": rates, "spread": (max(rates) - min(rates)) / (math.fsum(rates) / len(rates))}


def distribution(seconds: Sequence[float]) -> list[float]:
    """The calls' latencies in ms at 51 equal steps from the fastest to the slowest: what a curve is drawn from."""
    ordered = sorted(1000 * value for value in seconds)
    return [round(ordered[round(step * (len(ordered) - 1) / 50)], 4) for step in range(51)] if ordered else []


def energy(meter: EnergyMeter | None, joules: float, slices: int) -> dict[str, Any] | None:
    """Joules, and joules per 1,000 slices; None where nothing was read."""
    if meter is None or not slices or joules <= 0:
        return None
    return {"of": meter.of, "joules": joules, "joules_per_1000_slices": 1000 * joules / slices}


def measure(lanes: list[Lane], feed: SliceFeed, batch: int, effort: MeasuringEffort) -> None:
    """Warm every lane up, then time them in rounds, until each has the samples or the time that `effort` gives it."""
    for lane in lanes:
        with _guarded(lane):
            _warm_up(lane, feed, batch, effort)
    running = [lane for lane in lanes if lane.error is None]
    rounds = max(2, min([ROUNDS, *(lane.calls_left(effort) // 2 for lane in running)]))
    for number in range(rounds):
        first = number % max(1, len(running))
        for lane in running[first:] + running[:first]:
            if lane.error is None:
                with _guarded(lane):
                    _block(lane, feed, batch, math.ceil(lane.calls_left(effort) / (rounds - number)))


@contextmanager
def _guarded(lane: Lane) -> Iterator[None]:
    try:
        yield
    except LitsError as error:
        lane.error = str(error)


def _warm_up(lane: Lane, feed: SliceFeed, batch: int, effort: MeasuringEffort) -> None:
    calls: list[float] = []
    started = perf_counter()
    while True:
        begun = perf_counter()
        lane.runtime.infer(feed.batch(lane.position, batch))
        ended = perf_counter()
        calls.append(ended - begun)
        lane.position = feed.after(lane.position, batch)
        spent = ended - started
        enough = len(calls) >= effort.warmup_calls and spent >= effort.warmup_s
        if enough or (len(calls) >= 2 and spent >= effort.warmup_cap_s):
            break
    lane.estimate_s = median(calls[len(calls) // 2 :])


def _block(lane: Lane, feed: SliceFeed, batch: int, calls: int) -> None:
    if calls < 1:
        return
    wait_for_silence()
    lane.runtime.infer(feed.batch(lane.position, batch))
    lane.position = feed.after(lane.position, batch)
    answers: list[tuple[int, Outputs]] = []
    joules = lane.meter.joules() if lane.meter else 0.0
    opened = perf_counter()
    for _ in range(calls):
        slices = feed.batch(lane.position, batch)
        begun = perf_counter()
        outputs = lane.runtime.infer(slices)
        lane.seconds.append(perf_counter() - begun)
        answers.append((lane.position, outputs))
        lane.position = feed.after(lane.position, batch)
    lane.window_s += perf_counter() - opened
    lane.joules += lane.meter.joules() - joules if lane.meter else 0.0
    lane.blocks.append(calls)
    problems = (lane.check(feed.indices(position, batch), outputs) for position, outputs in answers)
    lane.error = next(filter(None, problems), None)


def wait_for_silence() -> None:
    """Return when this process uses no processor any more, or after QUIET_MOST_S."""
    deadline = perf_counter() + QUIET_MOST_S
    while perf_counter() < deadline:
        used = process_time()
        sleep(QUIET_STEP_S)
        if process_time() - used < QUIET_STEP_S / 20:
            return
