"""Who does which shard, on workers that are made up: `scheduler` alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import shard as entry
from lits_deploy.pipeline.options import Progress
from lits_deploy.pipeline.stop import Stop
from lits_deploy.sharding.crew import Event, Joined, Left, Noted, Refused, Reported, ShardDone, Stopped
from lits_deploy.sharding.record import ShardEntry
from lits_deploy.sharding.scheduler import ALONE, IN_A_ROW, MOST_LOSSES, Outcome, Scheduler, work_off


def at(done: int, slices: int | None = None) -> Progress:
    return Progress(files=10, done=done, failed=1, slices=done if slices is None else slices, seconds=1.0)


class FakeCrew:
    """Does what `act` says when a shard is given; `act(worker, shard, attempt)` gives events."""

    def __init__(self, workers: Iterable[str], act: Callable[[str, int, int], Iterable[Event]]) -> None:
        self.events: deque[Event] = deque(Joined(worker, machine=worker[0]) for worker in workers)
        self._act = act
        self.given: list[tuple[str, int]] = []
        self.returned: list[str] = []
        self.busy: dict[str, int] = {}
        self.alive = {event.worker for event in self.events if isinstance(event, Joined)}
        self.stops = 0

    def wait(self, seconds: float) -> list[Event]:
        if not self.events:
            return []
        event = self.events.popleft()
        if isinstance(event, ShardDone | Refused | Stopped | Left):
            self.busy.pop(event.worker, None)
        if isinstance(event, Left):
            self.alive.discard(event.worker)
        return [event]

    def give(self, worker: str, shard: int) -> None:
        assert worker in self.alive
        assert worker not in self.busy, "a worker has one shard at a time"
        assert shard not in self.busy.values(), "nobody does what another does"
        self.busy[worker] = shard
        self.given.append((worker, shard))
        self.events.extend(self._act(worker, shard, sum(number == shard for _, number in self.given)))

    def again(self, worker: str) -> None:
        self.returned.append(worker)
        self.alive.add(worker)
        self.events.append(Joined(worker, machine=worker[0]))

    def stop(self) -> None:
        self.stops += 1
        self.events.extend(Stopped(worker) for worker in self.busy)

    def wake(self) -> None:
        pass

    @property
    def expected(self) -> bool:
        return bool(self.alive or any(isinstance(event, Joined) for event in self.events))


def does_it(worker: str, shard: int, attempt: int) -> list[Event]:
    return [Reported(worker, at(4)), ShardDone(worker, slices=10, failed=1)]


def run(crew: FakeCrew, shards: Iterable[ShardEntry], stop: Stop | None = None, **more: object) -> Outcome:
    return work_off(crew, shards, files=100, before=0, stop=stop or Stop(), **more)  # type: ignore[arg-type]


def test_each_shard_is_done_once_the_largest_first() -> None:
    crew = FakeCrew(["a", "b"], does_it)
    outcome = run(crew, [entry(0, 5), entry(1, 50), entry(2, 20), entry(3, 50)])
    assert [shard for _, shard in crew.given] == [1, 3, 2, 0]
    assert {worker for worker, _ in crew.given} == {"a", "b"}
    assert outcome.done == (0, 1, 2, 3)
    assert outcome.failed == {}
    assert outcome.left == ()
    assert outcome.slices == 40


def test_without_shards_nobody_is_waited_for() -> None:
    assert run(FakeCrew([], does_it), []).done == ()


def test_a_shard_whose_worker_dies_is_done_by_another_one() -> None:
    def act(worker: str, shard: int, attempt: int) -> list[Event]:
        return [Left(worker, "signal 9")] if (shard, attempt) == (1, 1) else does_it(worker, shard, attempt)

    crew = FakeCrew(["a", "b"], act)
    outcome = run(crew, [entry(0), entry(1), entry(2)])
    assert outcome.done == (0, 1, 2)
    died, redone = (worker for worker, shard in crew.given if shard == 1)
    assert crew.returned == [died]
    assert redone != died
    assert outcome.notes == (f"{died} was lost: signal 9",)


def test_a_shard_that_kills_two_workers_has_failed() -> None:
    def act(worker: str, shard: int, attempt: int) -> list[Event]:
        return [Left(worker, "signal 11")] if shard == 1 else does_it(worker, shard, attempt)

    crew = FakeCrew(["a"], act)
    outcome = run(crew, [entry(0), entry(1), entry(2)])
    assert outcome.failed == {1: "signal 11"}
    assert outcome.done == (0, 2)


def test_lost_machines_count_less_than_deaths() -> None:
    def lost(times: int) -> Outcome:
        def act(worker: str, shard: int, attempt: int) -> list[Event]:
            return [Left(worker, "node", lost=True)] if attempt <= times else does_it(worker, shard, attempt)

        return run(FakeCrew(["a", "b"], act), [entry(0)])

    assert lost(MOST_LOSSES - 1).done == (0,)
    assert lost(MOST_LOSSES).failed == {0: "node"}


def test_a_refused_shard_is_tried_by_somebody_else_then_failed() -> None:
    def act(worker: str, shard: int, attempt: int) -> list[Event]:
        return [Refused(worker, "planned again")] if shard == 1 else does_it(worker, shard, attempt)

    crew = FakeCrew(["a", "b"], act)
    outcome = run(crew, [entry(0), entry(1), entry(2), entry(3)])
    assert outcome.failed == {1: "planned again"}
    assert outcome.done == (0, 2, 3)
    assert {worker for worker, shard in crew.given if shard == 1} == {"a", "b"}


def test_a_machine_where_nothing_works_gets_no_more_while_others_go_on() -> None:
    def act(worker: str, shard: int, attempt: int) -> list[Event]:
        return [Refused(worker, "no such mount")] if worker == "bad" else does_it(worker, shard, attempt)

    crew = FakeCrew(["bad", "good"], act)
    outcome = run(crew, [entry(number) for number in range(20)])
    assert len(outcome.done) == 20
    assert sum(worker == "bad" for worker, _ in crew.given) == IN_A_ROW


def test_several_workers_of_a_machine_where_nothing_works_fail_no_shard() -> None:
    def act(worker: str, shard: int, attempt: int) -> list[Event]:
        return [Refused(worker, "no such mount")] if worker[0] == "b" else does_it(worker, shard, attempt)

    crew = FakeCrew(["b1", "b2", "b3", "b4", "good"], act)
    outcome = run(crew, [entry(number) for number in range(20)])
    assert len(outcome.done) == 20
    assert sum(worker[0] == "b" for worker, _ in crew.given) <= 2 * IN_A_ROW


def test_where_nobody_succeeds_the_work_ends_early() -> None:
    crew = FakeCrew(["a", "b"], lambda worker, shard, attempt: [Refused(worker, "The disk is full.")])
    outcome = run(crew, [entry(number) for number in range(50)])
    assert len(crew.given) == 2 * ALONE
    assert set(outcome.failed.values()) == {"The disk is full."}
    assert len(outcome.failed) + len(outcome.left) == 50


def test_a_worker_that_dies_again_and_again_is_not_started_for_ever() -> None:
    crew = FakeCrew(["a"], lambda worker, shard, attempt: [Left(worker, "signal 11")])
    outcome = run(crew, [entry(number) for number in range(50)])
    assert len(crew.given) == IN_A_ROW
    assert outcome.left


def test_one_that_may_not_come_back_is_not_called_back() -> None:
    crew = FakeCrew(["a", "b"], lambda w, s, n: [Left(w, "gone", returns=False)] if n == 1 and s else does_it(w, s, n))
    outcome = run(crew, [entry(0, 1), entry(1, 2)])
    assert outcome.done == (0, 1)
    assert crew.returned == []


def test_without_workers_the_rest_is_left() -> None:
    crew = FakeCrew(["a"], lambda worker, shard, attempt: [Left(worker, "node", lost=True, returns=False)])
    outcome = run(crew, [entry(0), entry(1)])
    assert (outcome.done, outcome.failed, outcome.left) == ((), {}, (0, 1))


def test_stopping_ends_in_good_order_and_counts_as_no_failure() -> None:
    stop = Stop()

    def act(worker: str, shard: int, attempt: int) -> list[Event]:
        if len(crew.given) == 3:
            stop.request()
            return []
        return does_it(worker, shard, attempt)

    crew = FakeCrew(["a"], act)
    outcome = run(crew, [entry(number) for number in range(10)], stop)
    assert crew.stops == 1
    assert len(outcome.done) == 2
    assert len(outcome.left) == 8
    assert outcome.failed == {}


def test_who_is_killed_while_stopping_is_no_failure() -> None:
    stop = Stop()

    def act(worker: str, shard: int, attempt: int) -> list[Event]:
        stop.request()
        return []

    crew = FakeCrew(["a"], act)
    crew.stop = lambda: crew.events.append(Left("a", "signal 9"))  # type: ignore[method-assign]
    outcome = run(crew, [entry(0)], stop)
    assert (outcome.failed, outcome.left, outcome.notes, crew.returned) == ({}, (0,), (), [])


def test_progress_is_that_of_all_shards_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lits_deploy.pipeline.defaults.PROGRESS_EVERY_S", 0.0)
    seen: list[Progress] = []
    crew = FakeCrew(["a", "b"], does_it)
    work_off(crew, [entry(0), entry(1)], files=100, before=80, stop=Stop(), on_progress=seen.append)
    assert [one.files for one in seen] == [100] * len(seen)
    assert (seen[0].done, seen[-1].done) == (80, 100)
    assert (seen[-1].slices, seen[-1].failed) == (20, 2)
    assert all(first.done <= second.done for first, second in pairwise(seen))


def test_what_a_dead_worker_was_at_counts_no_more() -> None:
    scheduler = Scheduler([entry(0)])
    scheduler.joined("a", "here")
    assert scheduler.take("a") == 0
    scheduler.reported("a", at(7))
    assert scheduler.progress(10, 0, 1.0).done == 7
    assert scheduler.gone("a", "signal 9", lost=False)
    assert scheduler.progress(10, 0, 1.0).done == 0
    assert scheduler.slices == 7


def test_what_a_user_should_know_is_said_once() -> None:
    def act(worker: str, shard: int, attempt: int) -> list[Event]:
        return [Noted("from a node"), ShardDone(worker, warnings=("short of memory",))]

    outcome = run(FakeCrew(["a", "b"], act), [entry(number) for number in range(4)])
    assert outcome.notes == ("from a node", "short of memory")


def test_whoever_joins_may_be_refused() -> None:
    def on_joined(joined: Joined) -> None:
        raise ValueError(joined.worker)

    with pytest.raises(ValueError, match="a"):
        run(FakeCrew(["a"], does_it), [entry(0)], on_joined=on_joined)


def test_one_that_is_not_wanted_gets_no_shard() -> None:
    crew = FakeCrew(["a", "b"], does_it)
    outcome = run(crew, [entry(n) for n in range(4)], on_joined=lambda one: "b is odd" if one.worker == "b" else None)
    assert {worker for worker, _ in crew.given} == {"a"}
    assert (outcome.notes, outcome.workers) == (("b is odd",), 1)


@given(st.lists(st.sampled_from(["done", "die", "lose", "refuse"]), max_size=60), st.integers(1, 4), st.integers(0, 12))
@settings(deadline=None)
def test_whatever_happens_every_shard_is_accounted_for_once(what: list[str], workers: int, shards: int) -> None:
    fate = iter(what)

    def act(worker: str, shard: int, attempt: int) -> list[Event]:
        how = next(fate, "done")
        if how == "done":
            return does_it(worker, shard, attempt)
        if how == "refuse":
            return [Refused(worker, "no")]
        return [Left(worker, how, lost=how == "lose")]

    outcome = run(FakeCrew([f"w{n}" for n in range(workers)], act), [entry(number) for number in range(shards)])
    assert sorted([*outcome.done, *outcome.failed, *outcome.left]) == list(range(shards))
