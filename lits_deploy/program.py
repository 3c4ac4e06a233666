"""How a program of ours ends: one exit code for every way, with the line or traceback that belongs to it (`exits`).

Also for `python -m benchmarks.…`. Anything but these endings would let Python choose: 1, which means failed files.
"""

from __future__ import annotations

import gc
import os
import select
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NoReturn

from lits_deploy import endings, exits, signals

_UNREPORTED = (exits.DONE, exits.SOME_FAILED, exits.SOME_FAILED_UNATTENDED, exits.BUNDLE_FAILS)
"""Codes of a `main` that returned. The others have had their line, perhaps of the very output that fails to get out."""

_OBJECTS = 50_000
"""New objects before Python looks for unreachable ones, where its own default is 700: imports make many, and nearly all
of them stay."""

_thread_died = False


def run_program(main: Callable[[], int]) -> NoReturn:
    """Call `main`, which returns an exit code, and end the process."""
    gc.set_threshold(_OBJECTS)
    endings.expect()
    signals.listen()
    threading.excepthook = _note_thread
    try:
        code = _flushed(outcome(main))
    except KeyboardInterrupt:  # between the lines of these
        code = exits.of_signal(signals.received() or 2)
    signals.end_on_any()
    endings.ended(code)
    if signals.received() is not None:
        signals.end_at_once(code)
    sys.exit(code)


def outcome(main: Callable[[], int]) -> int:
    """The exit code, after its line or traceback was printed."""
    try:
        code = main()
        return exits.BUG if _thread_died and code in (exits.DONE, exits.SOME_FAILED) else code
    except BaseException as error:
        return _code_of(error)


def _code_of(error: BaseException) -> int:
    from lits_deploy.resource_errors import as_user_error

    number = signals.received()
    if any(isinstance(one, KeyboardInterrupt) for one in _chain(error)):
        _report("stopped", "stopped", error)
        return exits.of_signal(number or 2)  # a library's own KeyboardInterrupt counts as Ctrl-C
    if isinstance(error, BrokenPipeError) and _reader_is_gone():
        return exits.BROKEN_PIPE
    if (known := as_user_error(error)) is not None:
        _report("error", f"error: {known}", error)
        return exits.USER_ERROR
    if number is not None:  # a helper process that the same signal ended
        _report("stopped", "stopped", error)
        return exits.of_signal(number)
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return exits.DONE
    _report("bug", "".join(traceback.format_exception(error)).rstrip("\n"), error)
    return exits.BUG


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those it came of: an interrupted import may end as a missing library."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        one = one.__cause__ or one.__context__
    return iter(seen)


def _note_thread(died: threading.ExceptHookArgs) -> None:
    """A thread of anybody's ended by an exception that nobody took: the result may lack something."""
    global _thread_died
    if died.exc_type is SystemExit:
        return
    _thread_died = True
    text = "".join(traceback.format_exception(died.exc_type, died.exc_value, died.exc_traceback)).rstrip("\n")
    _report("bug", text, died.exc_value)


def _flushed(code: int) -> int:
    """The code, or another one if what was printed does not get out (which Python would tell by 120)."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None or stream.closed:
            continue
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            if stream is sys.stdout and code in _UNREPORTED:
                code = _code_of(error)
            with suppress(OSError, ValueError):  # what is left in it must not fail once more when Python ends
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
    return code


def _reader_is_gone() -> bool:
    """Whether standard output or error is a pipe that nobody reads."""
    poll = select.poll()
    for number in (1, 2):
        with suppress(OSError):
            os.fstat(number)
            poll.register(number, select.POLLERR)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _report(kind: endings.Kind, text: str, error: BaseException | None) -> None:
    """Print it, unless a log does."""
    if not endings.failed(kind, text, error):
        _say(text)


def _say(text: str) -> None:
    from lits_deploy.printable import say_error

    with suppress(OSError, ValueError, AttributeError):  # nobody listens
        say_error(*text.split("\n"))
