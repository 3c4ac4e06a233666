"""The offline scenario: all slices are at hand, and only the rate counts (MLPerf Inference's Offline scenario).

The slices go through in batches of the size that was fastest before, pass after pass, without a pause between calls,
until the time is over. Outputs are checked after the clock has stopped.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from benchmarks.latency import Check, Feed, energy, wait_for_silence, windows
from benchmarks.percentiles import summarise_ms
from benchmarks.telemetry import Meter
from lits_deploy.runtime import Outputs, Runtime


def offline(
    runtime: Runtime, feed: Feed, check: Check, *, batch: int, least_s: float, meter: Meter | None
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
    problems = [check(feed.indices(position, batch), outputs) for position, outputs in answers]
    return {
        "batch": batch, "slices": slices, "timed_s": last - started, "slices_per_second": slices / (last - started),
        "latency_ms": summarise_ms(seconds), "windows": windows(seconds, batch),
        "energy": energy(meter, joules, slices), "error": next((p for p in problems if p), None),
    }  # fmt: skip
