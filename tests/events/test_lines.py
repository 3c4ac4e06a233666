"""An event is one line, whatever is in it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from lits_deploy.events.emit import LOGGER, emit, phase
from lits_deploy.events.lines import Lines, event_of, figures_of


class Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    handler = Recorder()
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    monkeypatch.setattr(LOGGER, "level", logging.DEBUG)
    LOGGER.manager._clear_cache()  # type: ignore[attr-defined] # of which levels are told
    return handler


def line(kind: Any, record: logging.LogRecord) -> str:
    record.created = 1_800_000_000.25
    return Lines(kind, "classify").format(record)


def test_an_event_has_time_level_command_name_message_and_figures(kept: Recorder) -> None:
    emit("heartbeat", "a few words", level=logging.INFO, done=3, share=0.25, note="two words", empty="")
    (record,) = kept.records
    assert line("text", record) == (
        '2027-01-15T08:00:00Z info classify heartbeat a few words done=3 share=0.25 note="two words" empty=""'
    )
    assert json.loads(line("json", record)) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "info",
        "command": "classify",
        "event": "heartbeat",
        "message": "a few words",
        "done": 3,
        "share": 0.25,
        "note": "two words",
        "empty": "",
    }


def test_a_phase_and_what_others_say_by_logging(kept: Recorder) -> None:
    phase("files", to_do=2)
    logging.getLogger("lits_deploy.bundle").warning("note: %s is ignored", "x")
    logging.getLogger("lits_deploy.bundle").info("said")
    first, warning, note = kept.records
    assert (event_of(first), figures_of(first)) == ("phase", {"phase": "files", "to_do": 2})
    assert line("text", warning) == "2027-01-15T08:00:00Z warning classify note: %s is ignored", "x may be a path"
    assert json.loads(line("json", warning))["event"] == "warning"
    assert (event_of(note), figures_of(note)) == ("note", {})


@pytest.mark.parametrize("kind", ["text", "json"])
def test_whatever_is_in_it_it_is_one_printable_line(kept: Recorder, kind: str) -> None:
    emit("warning", "two\nlines \x1b[31m\u202e", level=logging.WARNING, note='a\nb"c', million=2_500_000.0)
    text = line(kind, kept.records[0])
    assert text.isprintable()
    if kind == "json":
        assert json.loads(text)["message"] == "two\nlines \x1b[31m\u202e", "the exact value"
    else:
        assert 'note="a\\nb\\"c" million=2500000' in text
