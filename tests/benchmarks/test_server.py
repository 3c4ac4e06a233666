"""Poisson arrivals: the highest rate is found, batches form meanwhile, wrong answers end the search."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.latency import SliceFeed
from benchmarks.server import ServerEffort, Trial, highest_rate, offline, run_trial
from fake_runtime import FakeRuntime
from lits_deploy.runtime import Batch, Outputs

SHAPE = (1, 8, 8)
EFFORT = ServerEffort(queries=40, least_s=0.0, cap_s=2.0, steps=3)


class Seen(FakeRuntime):
    """Notes the first pixel of every slice it is given."""

    def __init__(self, seconds: float, max_batch: int = 4) -> None:
        super().__init__(shape=SHAPE, max_batch=max_batch, seconds_per_batch=seconds)
        self.pixels: list[int] = []

    def _infer(self, batch: Batch) -> Outputs:
        self.pixels += batch[:, 0, 0, 0].tolist()
        return super()._infer(batch)


def feed(count: int, most: int) -> SliceFeed:
    return SliceFeed(
        np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, *SHAPE)).copy(), most
    )


def agree(_: npt.NDArray[np.int64], __: Outputs) -> str | None:
    return None


def test_a_trial_serves_every_slice_in_order_and_gathers_what_waits() -> None:
    runtime = Seen(0.01)
    trial = run_trial(runtime, feed(7, 4), agree, rate=400.0, bound_s=10.0, effort=EFFORT, seed=1)
    assert trial.passed
    assert trial.asked == len(trial.seconds) == 40
    assert runtime.pixels[4:] == [index % 7 for index in range(40)]  # after one call that is not timed
    assert trial.calls < 40  # 4 slices arrive while one call lasts
    assert all(value > 0 for value in trial.seconds)


def test_a_rate_beyond_the_network_fails_early() -> None:
    runtime = Seen(0.02, max_batch=1)
    trial = run_trial(runtime, feed(7, 1), agree, rate=2000.0, bound_s=0.001, effort=EFFORT, seed=1)
    assert not trial.passed
    assert len(trial.seconds) < 40


def test_bisection_ends_at_the_highest_rate_that_passed() -> None:
    found = highest_rate(Seen(0.0), feed(7, 4), agree, bound_ms=60_000.0, most_rate=800.0, effort=EFFORT)
    assert [trial["rate"] for trial in found["trials"]] == [600.0, 700.0, 750.0]
    assert found["slices_per_second"] == 750.0
    assert found["error"] is None
    assert found["trials"][0]["enough"] is False
    assert found["latency_ms"]["samples"] == 40


def test_no_rate_passes_and_wrong_answers_stop() -> None:
    found = highest_rate(Seen(0.02), feed(7, 4), agree, bound_ms=0.001, most_rate=400.0, effort=EFFORT)
    assert found["slices_per_second"] is None
    assert found["latency_ms"] is None
    found = highest_rate(
        Seen(0.0), feed(7, 4), lambda *_: "other answers", bound_ms=1e4, most_rate=400.0, effort=EFFORT
    )
    assert found["error"] == "other answers"
    assert len(found["trials"]) == 1


def test_passing_takes_99_per_cent_in_time_and_all_answered() -> None:
    def trial(late: int, answered: int = 100) -> Trial:
        seconds = [2.0] * late + [0.5] * (answered - late)
        return Trial(rate=1.0, asked=100, seconds=seconds, calls=answered, bound_s=1.0)

    assert trial(1).passed
    assert not trial(2).passed
    assert not trial(0, answered=99).passed


@pytest.mark.parametrize("count", [3, 9])
def test_offline_goes_over_all_slices_and_checks_them(count: int) -> None:
    runtime = Seen(0.0)
    asked: set[int] = set()

    def check(indices: npt.NDArray[np.int64], _: Outputs) -> str | None:
        asked.update(indices.tolist())
        return None

    found = offline(runtime, feed(count, 4), check, batch=4, least_s=0.0, meter=None)
    assert asked == set(range(count))
    assert found["slices"] >= count
    assert found["energy"] is None
    assert offline(runtime, feed(count, 4), lambda *_: "wrong", batch=4, least_s=0.0, meter=None)["error"] == "wrong"
