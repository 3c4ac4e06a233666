"""A request to stop a run in good order, from a signal handler or another thread.

First Ctrl-C, SIGTERM or SIGHUP: the batches with the network are finished and written. A second one: the program ends
at once (in another program: KeyboardInterrupt); the ledger is intact either way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from lits_deploy import exits, signals


class Stop:
    """Asked for once, seen by the pipeline's loop at its next turn.

    exit_code: of a program that was stopped so; 130 unless another signal asked.
    """

    def __init__(self) -> None:
        self.requested = False
        self.exit_code = exits.of_signal(signal.SIGINT)
        self._wake: Callable[[], None] | None = None

    def request(self) -> None:
        """Ask the run to stop; safe in a signal handler and from any thread."""
        self.requested = True
        if self._wake is not None:
            self._wake()

    def wakes(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` at a request, so that a loop that waits notices."""
        self._wake = wake


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """A Stop that SIGINT, SIGTERM and SIGHUP request, unless the parent had them ignored (`nohup`).

    Outside the main thread, where no handler can be set, a plain one.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        again = stop.requested
        signals.note(number)  # does not return for a second one
        if again:
            raise KeyboardInterrupt
        stop.exit_code = exits.of_signal(number)
        stop.request()

    before = {number: signal.signal(number, handle) for number in signals.heard()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
