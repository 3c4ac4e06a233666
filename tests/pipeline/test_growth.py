"""The pool grows while the network waits for slices, up to its limit, and not where it has enough."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lits_deploy.ledger import Ledger
from lits_deploy.pipeline import loop as module
from lits_deploy.pipeline import tuning
from lits_deploy.pipeline.loop import Loop
from lits_deploy.pipeline.stop import Stop


class Pool:
    def __init__(self) -> None:
        self.count = 1

    def grow(self) -> None:
        self.count += 1


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A loop under way whose clock and waiting time the test moves."""
    clock = SimpleNamespace(now=100.0, waited=0.0)
    monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    with Ledger(tmp_path) as ledger:
        loop = Loop(ledger, Stop(), None)
        loop.pool, loop.most_workers = Pool(), 3  # type: ignore[assignment]
        loop.inference = SimpleNamespace(wait_s=0.0)  # type: ignore[assignment]
        loop._looked_at, loop._had_waited = clock.now, 0.0

        def after(seconds: float, waited: float) -> int:
            clock.now += seconds
            loop.inference.wait_s += waited  # type: ignore[misc]
            loop._grow_where_starved()
            return loop.pool.count

        yield loop, after
        loop.close()


def test_it_grows_by_one_a_look_up_to_the_limit(running: Any) -> None:
    _, after = running
    assert [after(tuning.GROW_EVERY_S, tuning.GROW_EVERY_S) for _ in range(4)] == [2, 3, 3, 3]


def test_a_network_that_is_fed_needs_no_more(running: Any) -> None:
    _, after = running
    assert after(tuning.GROW_EVERY_S, 0.1 * tuning.GROW_EVERY_S) == 1
    assert after(0.1 * tuning.GROW_EVERY_S, 0.1 * tuning.GROW_EVERY_S) == 1  # too early to tell


def test_nothing_is_started_for_an_input_that_has_ended(running: Any) -> None:
    loop, after = running
    loop._input_ended = True
    assert after(10.0, 10.0) == 1
