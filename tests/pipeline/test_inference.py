"""The network's thread: order, out of memory, errors, ends."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

import numpy as np
import pytest

from fake_runtime import FakeRuntime
from lits_deploy.decode.slots import ReadyBatch
from lits_deploy.errors import DeviceError
from lits_deploy.pipeline.inference import Broken, InferenceThreads, Inferred, Opened
from lits_deploy.runtime import Outputs, RuntimeInfo

SHAPE = (1, 4, 4)


class Closing(FakeRuntime):
    closed = False

    def close(self) -> None:
        self.closed = True


def events(thread: InferenceThreads, woken: threading.Semaphore, count: int) -> list[Any]:
    found = []
    for _ in range(count):
        assert woken.acquire(timeout=10)
        found.append(thread._events.get(timeout=10))
    return found


def run(runtime: FakeRuntime, sizes: list[int], *, close_network: bool = True) -> tuple[InferenceThreads, list[Any]]:
    woken = threading.Semaphore(0)
    thread = InferenceThreads(lambda: runtime, woken.release, close_network=close_network).__enter__()
    for number, size in enumerate(sizes):
        batch: ReadyBatch[Any] = ReadyBatch(number, np.full((size, *SHAPE), number, np.uint8), tuple(range(size)))
        thread.submit(batch)
    found = events(thread, woken, len(sizes) + 1)
    thread.close(wait=True)
    return thread, found


def test_batches_are_answered_in_order_and_the_network_closed() -> None:
    runtime = Closing(shape=SHAPE)
    thread, (opened, *answers) = run(runtime, [3, 1, 8])
    assert isinstance(opened, Opened)
    assert opened.info.name == "fake"
    assert [answer.batch.buffer for answer in answers] == [0, 1, 2]
    assert [answer.outputs[0].shape for answer in answers] == [(3, 3), (1, 3), (8, 3)]
    assert runtime.closed
    assert thread.infer_s > 0


def test_every_lane_has_a_batch_at_once() -> None:
    class Together(Closing):
        meet = threading.Barrier(3, timeout=10)

        def _infer(self, batch: Any) -> Outputs:
            self.meet.wait()
            return super()._infer(batch)

    runtime = Together(shape=SHAPE, lanes=3)
    thread, (opened, *answers) = run(runtime, [2] * 6)
    assert opened.lanes == 3
    assert sorted(answer.batch.buffer for answer in answers) == list(range(6))
    for answer in answers:  # each has its own
        np.testing.assert_allclose(answer.outputs[0][:, 1], 4 * answer.batch.buffer / 255, rtol=1e-5)
    assert runtime.closed
    assert thread.infer_s > 0


def test_what_breaks_in_a_lane_is_reported() -> None:
    class Breaks(FakeRuntime):
        def _infer(self, batch: Any) -> Outputs:
            raise RuntimeError(threading.current_thread().name)

    _, (_, *broken) = run(Breaks(shape=SHAPE, lanes=2), [1])
    assert [type(event) for event in broken] == [Broken]


def test_a_network_of_the_callers_stays_open() -> None:
    runtime = Closing(shape=SHAPE)
    run(runtime, [1], close_network=False)
    assert not runtime.closed


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    runtime = FakeRuntime(shape=SHAPE, memory_for=3)
    thread, (_, *answers) = run(runtime, [8, 8])
    assert all(isinstance(answer, Inferred) and answer.outputs[0].shape == (8, 3) for answer in answers)
    assert runtime.batches == [2] * 8
    assert (thread.most, thread.halved) == (2, 2)


def test_a_batch_larger_than_the_network_takes_is_split() -> None:
    runtime = FakeRuntime(shape=SHAPE, max_batch=3)
    _, (_, answer) = run(runtime, [8])
    assert runtime.batches == [3, 3, 2]
    assert answer.outputs[0].shape == (8, 3)


def test_no_memory_for_one_slice_is_an_error_that_says_what_to_do() -> None:
    _, (_, broken) = run(FakeRuntime(shape=SHAPE, memory_for=0), [4])
    assert isinstance(broken, Broken)
    assert isinstance(broken.error, DeviceError)
    assert "--artifact" in str(broken.error)
    assert "--memory-limit" in str(broken.error), "on a CPU the bound of this option may be why"


def test_on_a_gpu_no_option_of_the_cpu_is_named() -> None:
    class OnGpu(FakeRuntime):
        def describe(self) -> RuntimeInfo:
            return dataclasses.replace(super().describe(), device="cuda:0")

    _, (_, broken) = run(OnGpu(shape=SHAPE, memory_for=0), [4])
    assert "--artifact" in str(broken.error)
    assert "--memory-limit" not in str(broken.error)


def test_batches_that_were_not_begun_can_be_taken_back() -> None:
    woken = threading.Semaphore(0)
    thread = InferenceThreads(lambda: FakeRuntime(shape=SHAPE, seconds_per_batch=0.3), woken.release).__enter__()
    for number in range(3):
        thread.submit(ReadyBatch(number, np.zeros((1, *SHAPE), np.uint8), ()))
    events(thread, woken, 1)
    time.sleep(0.1)
    assert [batch.buffer for batch in thread.cancel()] == [1, 2]
    (answer,) = events(thread, woken, 1)
    assert answer.batch.buffer == 0
    thread.close(wait=True)


def test_a_network_that_cannot_be_opened_is_reported() -> None:
    def refuse() -> FakeRuntime:
        raise DeviceError("no such device", fix="--device cpu")

    woken = threading.Semaphore(0)
    thread = InferenceThreads(refuse, woken.release).__enter__()
    (broken,) = events(thread, woken, 1)
    assert isinstance(broken, Broken)
    assert isinstance(broken.error, DeviceError)
    thread.close(wait=True)


def test_a_network_without_logits_is_a_bug() -> None:
    class NoLogits(FakeRuntime):
        def _infer(self, batch: Any) -> Outputs:
            return Outputs()

    _, (_, broken) = run(NoLogits(shape=SHAPE), [1])
    with pytest.raises(ValueError, match="no logits"):
        raise broken.error
