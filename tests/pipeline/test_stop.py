"""Stop requests: by hand, by signal, twice."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from lits_deploy.decode.wakeup import Wakeup
from lits_deploy.pipeline.stop import Stop, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_and_a_second_one_ends(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        woken = []
        stop.wakes(lambda: woken.append(True))
        os.kill(os.getpid(), number)
        assert stop.requested
        assert woken
        assert stop.exit_code == 128 + number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    found: list[Stop] = []

    def run() -> None:
        with stop_on_signals() as stop:
            found.append(stop)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not found[0].requested
    assert signal.getsignal(signal.SIGINT) is before


def test_a_wakeup_never_blocks_and_survives_its_end() -> None:
    wakeup = Wakeup()
    for _ in range(100_000):
        wakeup.wake()
    wakeup.drain()
    wakeup.close()
    wakeup.wake()
