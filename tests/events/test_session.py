"""A command's session: what is told to whom, heartbeats, and every way to end."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lits_deploy import endings, exits
from lits_deploy.errors import OutputError, UserError
from lits_deploy.events import session as module
from lits_deploy.events.emit import LOGGER, emit, phase
from lits_deploy.events.progress import ProgressFigures
from lits_deploy.events.session import CommandSession, ReportingOptions, current

LONG = 30.0  # seconds until a test gives up


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Whatever a test did, the logger is as it was."""
    before = LOGGER.level, LOGGER.propagate, list(LOGGER.handlers)
    yield
    assert (LOGGER.level, LOGGER.propagate, LOGGER.handlers) == before
    assert current() is None


class Shown:
    """A session whose lines on standard error are kept."""

    def __init__(self, *, terminal: bool = False, **asked: Any) -> None:
        self.lines: list[str] = []
        self.session = CommandSession("classify", ReportingOptions(**asked), show=self.lines.append, terminal=terminal)

    def events(self) -> list[str]:
        """Level and name of the lines of a log."""
        return [" ".join(line.split(" ")[1:4:2]) for line in self.lines]


def work(shown: Shown) -> None:
    with shown.session as session:
        phase("files")
        emit("warning", "careful", level=logging.WARNING, plain="warning: careful")
        emit("note", "for you", level=logging.INFO, plain="for you")
        session.beat()
        emit("study", level=logging.INFO, slices=3)


@pytest.mark.parametrize(
    ("asked", "terminal", "plain", "events"),
    [
        ({}, False, ["warning: careful", "for you"], ["info heartbeat"]),
        ({}, True, ["warning: careful", "for you"], []),
        ({"quiet": True}, False, [], []),
        (
            {"verbose": True},
            False,
            ["warning: careful", "for you"],
            ["info start", "debug phase", "info heartbeat", "info study", "info end"],
        ),
        (
            {"log_format": "text"},
            True,
            [],
            ["info start", "warning careful", "info note", "info heartbeat", "info study", "info end"],
        ),
        ({"log_format": "text", "quiet": True}, False, [], []),
    ],
)
def test_standard_error_is_for_a_person_unless_a_log_is_asked_for(
    asked: dict[str, Any], terminal: bool, plain: list[str], events: list[str]
) -> None:
    shown = Shown(terminal=terminal, **asked)
    work(shown)
    notes = [line for line in shown.lines if line in ("warning: careful", "for you")]
    assert notes == plain
    shown.lines = [line for line in shown.lines if line not in notes]
    assert shown.events() == events


@pytest.mark.parametrize(("asked", "names"), [
    ({}, ["start", "warning", "note", "heartbeat", "study", "end"]),
    ({"verbose": True}, ["start", "phase", "warning", "note", "heartbeat", "study", "end"]),
    ({"quiet": True}, []),
])  # fmt: skip
def test_a_log_has_the_same_events_as_json(tmp_path: Path, asked: dict[str, Any], names: list[str]) -> None:
    log = tmp_path / "log"
    work(Shown(log_format="json", log_file=log, **asked))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == names
    assert all(line["command"] == "classify" and line["time"].endswith("Z") for line in lines)


def test_a_heartbeat_says_how_far_it_is_by_the_bar_on_top() -> None:
    shown = Shown(log_format="json")
    figures = ProgressFigures(what="classify", done=3, total=9, failed=1, per_second=4.56, unit="slices", left_s=2.0)
    with shown.session as session:
        session.beat()
        session.follow(lambda: figures)
        phase("files")
        session.beat()
        read = lambda: None  # noqa: E731 - to be taken away again
        session.follow(read)
        session.beat()
        session.unfollow(read)
        session.unfollow(read)
        session.beat()
    beats = [each for each in map(json.loads, shown.lines) if each["event"] == "heartbeat"]
    known = {"what": "classify", "done": 3, "total": 9, "failed": 1, "per_second": 4.6, "unit": "slices", "left_s": 2.0}
    for beat in beats:
        for name in ("time", "level", "command", "event", "seconds"):
            beat.pop(name)
    assert beats == [{}, {"phase": "files", **known}, {"phase": "files"}, {"phase": "files", **known}]


def test_heartbeats_come_by_themselves_and_their_failure_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        if "heartbeat" in line:
            raise BrokenPipeError

    with CommandSession("train", ReportingOptions(metrics=tmp_path / "m"), show=show):
        until = time.monotonic() + LONG
        while len(lines) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert len(lines) >= 3
    assert "lits_deploy_running" in (tmp_path / "m").read_text()


@pytest.mark.parametrize(
    ("asked", "terminal", "beats"),
    [({}, True, False), ({"quiet": True}, False, False), ({}, False, True), ({"log_format": "json"}, True, True)],
)
def test_nobody_is_woken_where_nobody_listens(asked: dict[str, Any], terminal: bool, beats: bool) -> None:
    shown = Shown(terminal=terminal, **asked)
    with shown.session as session:
        assert (session._thread is not None) == beats
        assert session.bars == (terminal and not asked)


class Ended(Exception):  # noqa: N818
    """As typer's."""

    exit_code = 4


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, exits.DONE),
        (Ended(), 4),
        (UserError("no", fix="yes"), exits.USER_ERROR),
        (KeyboardInterrupt(), 130),
        (ValueError("x"), exits.BUG),
    ],
)
def test_in_another_program_it_tells_its_end_by_itself(error: BaseException | None, code: int) -> None:
    shown = Shown(log_format="json")
    with suppress(Ended, UserError, KeyboardInterrupt, ValueError), shown.session:
        if error is not None:
            raise error
    end = json.loads(shown.lines[-1])
    assert (end["event"], end["exit_code"], end["level"]) == ("end", code, "info" if code in (0, 4) else "error")


@pytest.mark.parametrize(
    ("asked", "kind", "text", "there", "lines"),
    [
        ({}, "error", "error: no", False, []),
        ({"log_format": "text"}, "error", "error: no", True, ["error no"]),
        ({"log_format": "json", "quiet": True}, "error", "error: no", True, None),
        ({"log_format": "text"}, "stopped", "stopped", True, ["warning stopped"]),
        ({"log_format": "text", "quiet": True}, "stopped", "stopped", False, []),
        ({"log_format": "text"}, "bug", "Traceback", True, ["error bug"]),
        ({"log_format": "json"}, "bug", "Traceback", True, None),
        ({}, "bug", "Traceback", False, []),
    ],
)
def test_why_it_ends_is_reported_once(
    asked: dict[str, Any], kind: Any, text: str, there: bool, lines: list[str] | None
) -> None:
    shown = Shown(**asked)
    with shown.session:
        shown.lines.clear()
        assert endings.failed(kind, text, ValueError("Miller")) == there
        if lines is None:
            assert json.loads(shown.lines[0])["level"] == "error"
        else:
            assert shown.events() == lines
        assert not any("Miller" in line for line in shown.lines)


def test_a_person_at_a_terminal_is_shown_the_names_as_well() -> None:
    shown = Shown(terminal=True, log_format="json")
    with shown.session:
        assert not endings.failed("error", "error: no", ValueError("Miller"))
        assert "Miller" not in "".join(shown.lines)


def test_a_bug_says_where_it_was_and_not_what() -> None:
    shown = Shown(log_format="json")
    with shown.session:
        try:
            raise ValueError("patient Miller")
        except ValueError as error:
            endings.failed("bug", "Traceback … Miller", error)
    bug = next(each for each in map(json.loads, shown.lines) if each["event"] == "bug")
    assert bug["message"] == "ValueError"
    assert bug["traceback"][-1].startswith("test_session.py:")
    assert "Miller" not in "".join(shown.lines)


def test_an_end_at_once_prints_nothing_and_writes_the_rest(tmp_path: Path) -> None:
    shown = Shown(log_format="json", log_file=tmp_path / "log", metrics=tmp_path / "m")
    with shown.session as session:
        shown.lines.clear()
        session.ended(143, at_once=True)
        assert not shown.lines
        endings.witness(session)
        LOGGER.addHandler(session._shown)
    ends = [each for each in map(json.loads, (tmp_path / "log").read_text().splitlines()) if each["event"] == "end"]
    assert ends[0]["exit_code"] == 143
    assert "lits_deploy_running" in (tmp_path / "m").read_text()


def test_a_forked_child_tells_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Shown(log_file=log).session as session:
        session._process += 1  # as a child sees it
        session.ended(130, at_once=True)
        assert not session.failed("error", "error: x", None)
        session._process = os.getpid()
        assert " end " not in log.read_text()


def test_a_log_that_cannot_be_written_leaves_nothing_open(tmp_path: Path) -> None:
    for asked in ({"log_file": tmp_path}, {"metrics": tmp_path}):
        with pytest.raises(OutputError):
            Shown(**asked)


def test_a_witness_that_fails_changes_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def failed(self, kind: str, text: str, error: BaseException | None) -> bool:
            raise OSError("the disk is full")

        def ended(self, code: int, *, at_once: bool) -> None:
            calls.append(code)
            raise OSError("the disk is full")

    calls: list[int] = []
    endings.witness(Failing())
    assert not endings.failed("error", "x")
    endings.ended(2)
    endings.ended(3, at_once=True)
    assert calls == [2], "once"
    assert not endings.failed("error", "x")


def test_what_another_logger_was_given_is_not_logged_twice(caplog: pytest.LogCaptureFixture) -> None:
    shown = Shown()
    with shown.session:
        logging.getLogger("lits_deploy.bundle").warning("note: %s", "x")
    assert shown.lines == ["note: x"]
    assert not caplog.records


def test_events_without_a_session_are_records_below_warnings(caplog: pytest.LogCaptureFixture) -> None:
    phase("files")
    assert not caplog.records
    with caplog.at_level(logging.DEBUG, "lits_deploy"):
        phase("files")
    (record,) = caplog.records
    assert vars(record)["figures"] == {"phase": "files"}
