"""Turns, distinct inputs, and outputs that are checked; nothing here depends on how fast the machine is."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.contenders import score
from benchmarks.latency import Lane, MeasuringEffort, SliceFeed, measure
from fake_runtime import FakeRuntime
from lits_deploy.errors import DeviceOutOfMemory
from lits_deploy.runtime import Batch, Outputs

SHAPE = (1, 8, 8)
CALLS = MeasuringEffort(samples=12, cap_s=1e9, floor=12, warmup_calls=2, warmup_s=0.0)


def grey(count: int) -> npt.NDArray[np.uint8]:
    """`count` slices, all different."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, *SHAPE)).copy()


class Recorder(FakeRuntime):
    """Notes its name and the first pixel of each slice into a common log."""

    def __init__(self, name: str, log: list[tuple[str, tuple[int, ...]]]) -> None:
        super().__init__(shape=SHAPE)
        self.label, self.log = name, log

    def _infer(self, batch: Batch) -> Outputs:
        self.log.append((self.label, tuple(int(value) for value in batch[:, 0, 0, 0])))
        return super()._infer(batch)


class Drifting(FakeRuntime):
    """Answers rightly for some calls, then adds to the logits."""

    def __init__(self, right: int) -> None:
        super().__init__(shape=SHAPE)
        self.right = right

    def _infer(self, batch: Batch) -> Outputs:
        outputs = super()._infer(batch)
        self.right -= 1
        assert outputs.probabilities is not None
        return outputs if self.right >= 0 else Outputs(probabilities=outputs.probabilities[:, ::-1].copy())


def agree(_: npt.NDArray[np.int64], __: Outputs) -> str | None:
    return None


def test_candidates_take_turns_and_the_order_moves_on() -> None:
    log: list[tuple[str, tuple[int, ...]]] = []
    lanes = [Lane(name, Recorder(name, log), agree) for name in "abc"]
    measure(lanes, SliceFeed(grey(9), 2), 2, CALLS)
    assert [len(lane.seconds) for lane in lanes] == [12, 12, 12]
    blocks = [name for name, _ in groupby(log, key=lambda entry: entry[0])]
    assert blocks[:3] == ["a", "b", "c"]  # warm-up
    order = "".join(blocks[3:])
    assert len(lanes[0].blocks) == 6
    assert order.startswith("abcbcacab")
    assert all(sum(lane.blocks) == 12 for lane in lanes)


def test_inputs_are_distinct_and_walk_through_all_slices() -> None:
    log: list[tuple[str, tuple[int, ...]]] = []
    measure([Lane("a", Recorder("a", log), agree)], SliceFeed(grey(9), 4), 4, CALLS)
    batches = [slices for _, slices in log]
    assert all(before != after for before, after in pairwise(batches))
    assert {value for batch in batches for value in batch} == set(range(9))
    assert all(len(set(batch)) == 4 for batch in batches)


@pytest.mark.parametrize(("count", "size"), [(3, 3), (3, 8), (1, 4)])
def test_fewer_slices_than_a_batch_still_fill_it(count: int, size: int) -> None:
    feed, position, batches = SliceFeed(grey(count), size), 0, []
    for _ in range(4):
        batch = feed.batch(position, size)
        assert batch.shape == (size, *SHAPE)
        np.testing.assert_array_equal(batch[:, 0, 0, 0], feed.indices(position, size))
        batches.append(batch.tobytes())
        position = feed.after(position, size)
    if count > 1:
        assert all(before != after for before, after in pairwise(batches))


def test_time_cap_floor_and_enough_samples() -> None:
    lane = Lane("a", FakeRuntime(shape=SHAPE), agree)
    lane.estimate_s = 1.0
    assert lane.calls_left(MeasuringEffort(cap_s=20)) == 20
    assert lane.calls_left(MeasuringEffort(cap_s=2)) == 11
    lane.estimate_s = 0.001
    assert lane.calls_left(MeasuringEffort(cap_s=20)) == 662
    lane.seconds, lane.window_s = [0.1] * 10, 1.0
    assert lane.calls_left(MeasuringEffort(cap_s=2)) == 10


def test_a_timed_run_that_answers_otherwise_is_an_error() -> None:
    slices = grey(200)[::8].copy()
    scored = score(FakeRuntime(shape=SHAPE), slices, task="classify", tolerance=1e-4)
    good = Lane("good", FakeRuntime(shape=SHAPE), scored.mismatch)
    bad = Lane("bad", Drifting(right=9), scored.mismatch)
    measure([good, bad], SliceFeed(slices, 4), 4, CALLS)
    assert good.error is None
    assert len(good.seconds) == 12
    assert bad.error is not None
    assert "otherwise than the accuracy run" in bad.error


def test_out_of_memory_stops_one_lane_only() -> None:
    lanes = [Lane("small", FakeRuntime(shape=SHAPE, memory_for=2), agree), Lane("big", FakeRuntime(shape=SHAPE), agree)]
    measure(lanes, SliceFeed(grey(9), 4), 4, CALLS)
    assert lanes[0].error == str(DeviceOutOfMemory("the fake device holds 2 slices"))
    assert lanes[1].error is None
    assert lanes[1].result(4)["latency_ms"]["samples"] == 12
