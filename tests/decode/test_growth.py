"""Workers are added while somebody waits for slices, up to the limit, and not where there is enough."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from folder_runs import SIZE, tricks
from lits_deploy.contract import InputContract
from lits_deploy.decode import decoding as module
from lits_deploy.decode.decoding import Decoding, Starved
from lits_deploy.decode.job import DecodeJob
from lits_deploy.decode.settings import GROW_EVERY_S, DecodeSettings
from lits_deploy.pipeline.stop import Stop


def test_starving_is_much_waiting_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0, waited=0.0)
    monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    starved = Starved(lambda: clock.waited)

    def after(seconds: float, waited: float) -> bool:
        clock.now += seconds
        clock.waited += waited
        return starved()

    assert after(GROW_EVERY_S, GROW_EVERY_S)
    assert not after(0.1 * GROW_EVERY_S, 0.1 * GROW_EVERY_S), "too early to tell"
    assert after(GROW_EVERY_S, GROW_EVERY_S)
    assert not after(GROW_EVERY_S, 0.1 * GROW_EVERY_S), "fed well enough"


@pytest.mark.parametrize(
    ("workers", "count", "waits", "expected"),
    [(None, 60, True, 3), (2, 60, True, 2), (None, 60, False, 1), (None, 2, True, 1)],
)
def test_workers_are_added_up_to_the_limit_and_never_for_an_input_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int | None, count: int, waits: bool, expected: int
) -> None:
    monkeypatch.setattr("lits_deploy.decode.settings.cores", lambda: 3)
    monkeypatch.setattr("lits_deploy.decode.settings.default_workers", lambda: 1)
    monkeypatch.setattr(module, "GROW_EVERY_S", 0.01)
    tricks(tmp_path, slow="slow 0.02")
    jobs = [DecodeJob(n, str(tmp_path / "slow.test"), "hostile_reader") for n in range(count)]
    settings = DecodeSettings(contract=InputContract(window_hu=None, size=SIZE, crop=56), workers=workers)
    with Decoding(settings, Stop()) as decoding:
        list(decoding.files(jobs[:1]))  # the workers to start with are there from now on
        ended = [end.reason for end, _ in decoding.files(jobs, waited=time.monotonic if waits else lambda: 0.0)]
        assert ended == [None] * count
        assert decoding.figures.workers == expected
