"""The log: private, appended a line at a time, begun anew when it was moved away, and never a link."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lits_deploy.errors import OutputError
from lits_deploy.events.log_file import LogFile


@contextmanager
def opened(path: Path) -> Iterator[LogFile]:
    log = LogFile(path)
    try:
        yield log
    finally:
        log.close()


def say(log: LogFile, text: str) -> None:
    log.emit(logging.LogRecord("lits_deploy", logging.INFO, "", 0, text, None, None))


def test_lines_are_appended_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in ("one", "two \udcff"):
        with opened(path) as log:
            say(log, text)
    assert path.read_bytes() == b"one\ntwo \\udcff\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_that_was_moved_away_or_removed_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with opened(path) as log:
        say(log, "one")
        path.rename(tmp_path / "log.1")
        say(log, "two")
        assert path.read_text() == "two\n"
        path.unlink()
        say(log, "three")
    assert ((tmp_path / "log.1").read_text(), path.read_text()) == ("one\n", "three\n")


def test_where_it_cannot_be_written_any_more_the_command_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with opened(folder / "log") as log:
        (folder / "log").unlink()
        folder.rmdir()
        say(log, "lost")
        folder.mkdir()
        say(log, "found")
    assert (folder / "log").read_text() == "found\n"


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", ".", "none/log"):
        with pytest.raises(OutputError, match=r"The log .* cannot be written \(.+\)\. Fix: name a plain file"):
            LogFile(tmp_path / name)
    assert (tmp_path / "target").read_bytes() == b""
