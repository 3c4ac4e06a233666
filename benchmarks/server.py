"""Two scenarios of MLPerf Inference with one candidate after the other: Server and Offline.

Server: slices arrive one by one at random (a Poisson process). Looked for is the highest rate at which 99 % of the
slices have their answer within a bound, counted from the moment a slice arrives, not from when the network takes it up.
What has arrived while the network computed goes into the next call together, up to `max_batch` slices. The arrivals are
drawn beforehand, so the loop needs no second thread: it waits for the next arrival when none is there. A trial that has
failed is ended at once: too many slices were late already, or so many wait that they will be.

Offline: all slices are at hand, and only the rate counts. They go through in batches of the size that was fastest
before, pass after pass, without a pause between calls, until the time is over. Outputs are checked after the clock has
stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.latency import Check, SliceFeed, energy, wait_for_silence, windows
from benchmarks.percentiles import needed_samples, summarise_ms
from benchmarks.telemetry import EnergyMeter
from lits_deploy.runtime import Outputs, Runtime

SHARE = 0.99
"""Of the slices, that must be answered within the bound."""

SEED = 20_261_125


@dataclass(frozen=True, kw_only=True)
class ServerEffort:
    """queries: in a trial, at least; least_s, cap_s: seconds of a trial; steps: bisections of the rate."""

    queries: int = needed_samples(99)
    least_s: float = 8.0
    cap_s: float = 30.0
    steps: int = 5


SERVER_FULL = ServerEffort()
SERVER_QUICK = ServerEffort(least_s=1.0, cap_s=8.0, steps=4)
SERVER_STRICT = ServerEffort(least_s=60.0, cap_s=math.inf, steps=7)

_SPIN_S = 0.0005
"""Before an arrival the loop stops sleeping: a sleep may last that much longer than asked."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One rate tried. seconds: from arrival to answer, of every slice that was answered. problem: a wrong answer."""

    rate: float
    asked: int
    seconds: list[float]
    calls: int
    bound_s: float
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """All were answered, and enough of them in time."""
        late, answered = len(self.seconds) - self.in_time, len(self.seconds)
        return self.problem is None and answered == self.asked and late <= (1 - SHARE) * self.asked

    @property
    def in_time(self) -> int:
        """Slices answered within the bound."""
        return sum(value <= self.bound_s for value in self.seconds)

    def to_json(self) -> dict[str, Any]:
        """rate, queries, calls, share in time, latency; `enough`: whether the queries carry a p99."""
        return {
            "rate": self.rate,
            "queries": self.asked,
            "answered": len(self.seconds),
            "calls": self.calls,
            "share_in_time": self.in_time / self.asked,
            "passed": self.passed,
            "enough": self.asked >= needed_samples(99),
            "latency_ms": summarise_ms(self.seconds),
        }


def highest_rate(
    runtime: Runtime, feed: SliceFeed, check: Check, *, bound_ms: float, most_rate: float, effort: ServerEffort
) -> dict[str, Any]:
    """Bisect between no slices and `most_rate` slices/s (what the network does when all slices are at hand).

    slices_per_second: the highest rate that passed, None where none did; trials: all of them, in order; the search ends
    within `most_rate` / 2^steps of the limit. error: a wrong answer.
    """
    low, high = 0.0, most_rate
    best: Trial | None = None
    trials: list[Trial] = []
    for step in range(effort.steps):
        rate = (low + high) / 2 if step else 0.75 * high
        trial = run_trial(runtime, feed, check, rate=rate, bound_s=bound_ms / 1000, effort=effort, seed=SEED + step)
        trials.append(trial)
        if trial.problem is not None:
            break
        best, low, high = (trial, rate, high) if trial.passed else (best, low, rate)
    return {
        "bound_ms": bound_ms,
        "most_rate": most_rate,
        "resolution": most_rate / 2**effort.steps,
        "slices_per_second": best and best.rate,
        "latency_ms": best and summarise_ms(best.seconds),
        "mean_batch": best and len(best.seconds) / best.calls,
        "trials": [trial.to_json() for trial in trials],
        "error": trials[-1].problem,
    }


def run_trial(
    runtime: Runtime, feed: SliceFeed, check: Check, *, rate: float, bound_s: float, effort: ServerEffort, seed: int
) -> Trial:
    """Serve slices that arrive at `rate` per second on average."""
    count = max(effort.queries, math.ceil(rate * effort.least_s))
    count = max(2, min(count, math.ceil(rate * effort.cap_s))) if math.isfinite(effort.cap_s) else count
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))
    wait_for_silence()
    runtime.infer(feed.batch(0, min(runtime.max_batch, feed.count)))
    seconds, answers, calls = _serve(runtime, feed, arrivals, bound_s)
    problems = (check(feed.indices(position, size), outputs) for position, size, outputs in answers)
    problem = next(filter(None, problems), None)
    return Trial(rate=rate, asked=count, seconds=seconds, calls=calls, bound_s=bound_s, problem=problem)


def _serve(
    runtime: Runtime, feed: SliceFeed, arrivals: npt.NDArray[np.float64], bound_s: float
) -> tuple[list[float], list[tuple[int, int, Outputs]], int]:
    count, done, late, calls = len(arrivals), 0, 0, 0
    allowed = (1 - SHARE) * count
    seconds: list[float] = []
    answers: list[tuple[int, int, Outputs]] = []
    started = perf_counter()
    while done < count:
        now = perf_counter() - started
        if arrivals[done] > now:
            _sleep_until(started + arrivals[done])
            continue
        waiting = int(np.searchsorted(arrivals, now, side="right")) - done
        size = min(waiting, runtime.max_batch)
        position = done % feed.count
        outputs = runtime.infer(feed.batch(position, size))
        ended = perf_counter() - started
        calls += 1
        answers.append((position, size, outputs))
        for arrived in arrivals[done : done + size]:
            seconds.append(float(ended - arrived))
            late += seconds[-1] > bound_s
        done += size
        if late > allowed or ended - arrivals[min(done, count - 1)] > 20 * bound_s:
            break
    return seconds, answers, calls


def _sleep_until(moment: float) -> None:
    left = moment - perf_counter()
    if left > _SPIN_S:
        sleep(left - _SPIN_S)
    while perf_counter() < moment:
        pass


def offline(
    runtime: Runtime, feed: SliceFeed, check: Check, *, batch: int, least_s: float, meter: EnergyMeter | None
) -> dict[str, Any]:
    """slices_per_second over at least `least_s` seconds and one pass over all slices; windows, energy, error."""
    wait_for_silence()
    runtime.infer(feed.batch(0, batch))
    position = slices = 0
    seconds: list[float] = []
    answers: list[tuple[int, Outputs]] = []
    joules = meter.joules() if meter else 0.0
    started = perf_counter()
    last = started
    while slices < feed.count or last - started < least_s:
        outputs = runtime.infer(feed.batch(position, batch))
        now = perf_counter()
        seconds.append(now - last)
        last = now
        if slices < feed.count:  # later passes give the same answers: one is kept of each slice
            answers.append((position, outputs))
        slices += batch
        position = feed.after(position, batch)
    joules = meter.joules() - joules if meter else 0.0
    problems = (check(feed.indices(position, batch), outputs) for position, outputs in answers)
    return {
        "batch": batch,
        "slices": slices,
        "timed_s": last - started,
        "slices_per_second": slices / (last - started),
        "latency_ms": summarise_ms(seconds),
        "windows": windows(seconds, batch),
        "energy": energy(meter, joules, slices),
        "error": next(filter(None, problems), None),
    }
