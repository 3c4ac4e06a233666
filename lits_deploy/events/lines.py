"""An event as one line: text for people, JSON for machines; the time in UTC."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any, Literal

from lits_deploy.printable import json_line, printable

Format = Literal["text", "json"]


class Lines(logging.Formatter):
    """Makes a record one line. command: whose events they are."""

    def __init__(self, kind: Format, command: str) -> None:
        super().__init__()
        self._kind, self._command = kind, command

    def format(self, record: logging.LogRecord) -> str:
        """`2026-01-31T02:03:04Z info classify heartbeat done=3 total=9`, or the same as JSON."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        level, event = record.levelname.lower(), event_of(record)
        # What is put into the text of a record that `emit` has not made may be a path.
        message = record.getMessage() if hasattr(record, "event") else str(record.msg)
        figures = figures_of(record)
        if self._kind == "json":
            time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            head = {"time": time, "level": level, "command": self._command, "event": event}
            return json_line({**head, **({"message": message} if message else {}), **figures})
        parts = [f"{moment:%Y-%m-%dT%H:%M:%SZ}", level, self._command, event if event != level else ""]
        parts += [message, *(f"{name}={_word(value)}" for name, value in figures.items())]
        return printable(" ".join(filter(None, parts)))


def event_of(record: logging.LogRecord) -> str:
    """The event's name; of a record that was not made by `emit`, by its level."""
    return str(getattr(record, "event", "warning" if record.levelno >= logging.WARNING else "note"))


def figures_of(record: logging.LogRecord) -> dict[str, Any]:
    """The event's figures."""
    return dict(getattr(record, "figures", {}))


def _word(value: Any) -> str:
    """As it is where it is one word; else as JSON, in which a quotation mark and a line feed are escaped."""
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
    if isinstance(value, str) and value and not set(value) & set(' "=\\') and value.isprintable():
        return value
    return json.dumps(value, ensure_ascii=False)
