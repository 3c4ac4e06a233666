"""One command: its start, a heartbeat a minute, and its end, written to standard error, a log and a file of metrics.

Standard error is for a person unless `--log-format` asks for lines of a log: warnings are plain lines then, and of the
others there are heartbeats alone, where no terminal shows a bar. Heartbeats come from a thread that sleeps in between
and reads what the progress bar has, so the work itself does nothing for them.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy import endings, exits
from lits_deploy.errors import UserError
from lits_deploy.events.emit import LOGGER, PHASE, RUN, emit
from lits_deploy.events.lines import Format, Lines, event_of, figures_of
from lits_deploy.events.log_file import LogFile
from lits_deploy.events.metrics import END, HEARTBEAT, START, SUCCESSES, MetricsFile
from lits_deploy.events.progress import ProgressFigures
from lits_deploy.events.wording import raised_at, wording
from lits_deploy.release import __version__

EVERY_S = 60.0
"""Seconds between two heartbeats."""

_FRAMES = 8  # of a bug, in a log
_LAST_WORDS_S = 1.0  # that the end of a program waits for a heartbeat under way


@dataclass(frozen=True, kw_only=True)
class ReportingOptions:
    """What somebody wants to know: the options that all long commands share."""

    verbose: bool = False
    quiet: bool = False
    log_format: Format | None = None
    log_file: Path | None = None
    metrics: Path | None = None

    @property
    def level(self) -> int:
        """The least level that is written."""
        return logging.ERROR if self.quiet else logging.DEBUG if self.verbose else logging.INFO


class CommandSession:
    """A command under way. Use as a context manager, and where `program` runs the process it also tells the end.

    show: prints a line to standard error; terminal: somebody looks at it. Raises OutputError for a log or metrics that
    cannot be written.
    """

    def __init__(
        self, command: str, asked: ReportingOptions, *, show: Callable[[str], None], terminal: bool = False
    ) -> None:
        self.asked = asked
        self.bars = terminal and not asked.quiet and asked.log_format is None
        self._begun, self._process = time.monotonic(), os.getpid()
        self._terminal = terminal
        self._phase, self._counts = "", dict[str, Any]()
        self._followed: list[Callable[[], ProgressFigures | None]] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._handlers: list[logging.Handler] = [_Phases(self)]
        lines = Lines(asked.log_format or "text", command)
        if asked.metrics is not None:
            self._handlers.append(MetricsFile(asked.metrics, command))
        if asked.log_file is not None:
            log = LogFile(asked.log_file)
            log.setLevel(asked.level)
            log.setFormatter(lines)
            self._handlers.append(log)
        self._shown = _StandardError(self, show)
        self._shown.setLevel(asked.level)
        self._shown.setFormatter(lines)
        self._handlers.append(self._shown)
        self._beats = not (self.bars or asked.quiet) or asked.log_file is not None or asked.metrics is not None

    def __enter__(self) -> CommandSession:
        global _current
        _current = self
        self._before = LOGGER.level, LOGGER.propagate
        LOGGER.setLevel(logging.DEBUG)
        LOGGER.propagate = False  # a library may have set up logging of its own
        for handler in self._handlers:
            LOGGER.addHandler(handler)
        endings.witness(self)
        emit(START, level=logging.INFO, version=__version__)
        if self._beats:
            self._thread = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not endings.awaited():  # else `program` tells it, once all is printed
            endings.ended(_code_of(error))

    def follow(self, read: Callable[[], ProgressFigures | None]) -> None:
        """Have heartbeats say what this returns; it is called in another thread."""
        self._followed.append(read)

    def unfollow(self, read: Callable[[], ProgressFigures | None]) -> None:
        """No more."""
        if read in self._followed:
            self._followed.remove(read)

    def beat(self) -> None:
        """Say how far the command is."""
        figures = self._followed[-1]() if self._followed else None
        known = {} if figures is None else figures.known()
        phase = {"phase": self._phase} if self._phase else {}
        emit(HEARTBEAT, level=logging.INFO, **phase, **known, seconds=round(time.monotonic() - self._begun, 1))

    def failed(self, kind: endings.Kind, text: str, error: BaseException | None) -> bool:
        """Why the command ends, as `program` says it."""
        if os.getpid() != self._process:
            return False
        if kind == "bug":
            # Where it was, not what it says, which may quote a name.
            emit("bug", type(error).__name__, level=logging.ERROR, traceback=raised_at(error, _FRAMES))
        elif kind == "stopped":
            emit("stopped", level=logging.WARNING)
        else:
            message = wording(error, text.removeprefix("error: "))
            emit("error", message, level=logging.ERROR, kind=type(error).__name__, raised_at=raised_at(error))
        # Standard error is a log then, unless somebody looks at it: a person sees the names as well.
        # Of a quiet command, errors alone are written; that it was stopped is said as ever.
        is_log = self.asked.log_format is not None and not self._terminal
        return is_log and not (kind == "stopped" and self.asked.quiet)

    def ended(self, code: int, *, at_once: bool) -> None:
        """Tell the exit code, and listen no more."""
        global _current
        if os.getpid() != self._process:  # a child that a library forked, and a signal ended
            return
        self._over.set()
        if at_once:  # the thread that prints may have been broken into
            LOGGER.removeHandler(self._shown)
        level = logging.INFO if code in SUCCESSES else logging.ERROR
        emit(END, level=level, exit_code=code, **self._counts, seconds=round(time.monotonic() - self._begun, 1))
        if at_once:
            return
        _current = None
        endings.witness(None)
        if self._thread is not None:
            self._thread.join(_LAST_WORDS_S)
        LOGGER.propagate = self._before[1]
        LOGGER.setLevel(self._before[0])
        for handler in self._handlers:
            LOGGER.removeHandler(handler)
            handler.close()

    def _beat_on(self) -> None:
        while not self._over.wait(EVERY_S):
            with suppress(OSError, ValueError):  # standard error has gone: no reason to end the work
                self.beat()

    def is_shown(self, record: logging.LogRecord) -> bool:
        """Whether a line of a log belongs on standard error."""
        if event_of(record) == HEARTBEAT:
            return not self.bars
        return self.asked.log_format is not None or self.asked.verbose

    def note_phase(self, name: str) -> None:
        """What the command is at."""
        self._phase = name

    def note_run(self, figures: Mapping[str, Any]) -> None:
        """What a run came to; the end repeats its counts."""
        self._counts = {name: figures[name] for name in ("slices", "failed", "excluded", "abstained")}


_current: CommandSession | None = None


def current() -> CommandSession | None:
    """The command under way in this process, if it is one that tells of itself."""
    return _current


class _Phases(logging.Handler):
    """Tells the session which phase begins, and what a run came to."""

    def __init__(self, session: CommandSession) -> None:
        super().__init__()
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        if event_of(record) == PHASE:
            self._session.note_phase(figures_of(record)["phase"])
        elif event_of(record) == RUN:
            self._session.note_run(figures_of(record))


class _StandardError(logging.Handler):
    """Prints plain lines for a person, or those of a log."""

    def __init__(self, session: CommandSession, show: Callable[[str], None]) -> None:
        super().__init__()
        self._session, self._show = session, show

    def emit(self, record: logging.LogRecord) -> None:
        # What a module says by `logging` alone is printed as Python prints it.
        plain = getattr(record, "plain", record.getMessage())
        if self._session.asked.log_format is None and plain is not None:
            self._show(plain)
        elif self._session.is_shown(record):
            self._show(self.format(record))


def _code_of(error: BaseException | None) -> int:
    """Of a command that a program of others runs."""
    if error is None:
        return exits.DONE
    if isinstance(code := getattr(error, "exit_code", None), int):  # of typer, which is not imported here
        return code
    if isinstance(error, KeyboardInterrupt):
        return exits.of_signal(signal.SIGINT)
    return exits.USER_ERROR if isinstance(error, UserError) else exits.BUG
