"""SIGINT, SIGTERM and SIGHUP for the whole program: the first is a KeyboardInterrupt, a second one ends it at once.

Within an import the first one ends it, too, as a kill would, which no run minds. `listen` is called before anything is
imported; `pipeline.stop` takes over where a run can stop in good order. A signal that the parent ignores (`nohup`)
stays ignored. Imports nothing heavy, and knows nothing of what is interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from lits_deploy import endings, exits

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_listening = False
_received: int | None = None


def received() -> int | None:
    """The first of these signals that has come to this program."""
    return _received


def note(number: int) -> None:
    """A signal has come; if it is not the first, the program ends at once. Safe in a signal handler.

    Does nothing in another program that uses this package as a library.
    """
    global _received
    if not _listening:
        return
    if _received is not None:
        end_at_once(exits.of_signal(number))
    _received = number


def heard() -> tuple[signal.Signals, ...]:
    """Those of the signals that the parent did not ask to be ignored."""
    return tuple(number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN)


def listen() -> None:
    """Turn the signals into KeyboardInterrupt, in the main thread."""
    global _listening
    _listening = True
    for number in heard():
        signal.signal(number, _interrupt)


def end_on_any() -> None:
    """From now on a signal ends the program at once: nothing is left to be put in order."""
    for number in heard():
        signal.signal(number, _end)


def end_at_once(code: int) -> NoReturn:
    """End without Python's own good-bye.

    That takes Python away from threads that are still at work in C++ (loading a network, building an engine), which
    ends them by "terminate called" and a core. Processes that a library of Python's started are told to end, too.
    """
    if "multiprocessing.process" in sys.modules:
        from multiprocessing import active_children

        for child in active_children():
            child.terminate()
    endings.ended(code, at_once=True)
    os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:
    note(number)
    if _is_import(frame):
        # An exception within the start of a library in C++, as PyTorch is, aborts the process.
        with suppress(OSError):
            os.write(2, b"stopped\n")
        end_at_once(exits.of_signal(number))
    raise KeyboardInterrupt


def _is_import(frame: FrameType | None) -> bool:
    """Whether a frame or one of its callers is Python's import."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end(number: int, frame: FrameType | None) -> None:
    end_at_once(exits.of_signal(number))
