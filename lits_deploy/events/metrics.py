"""`--metrics FILE`: how a command goes and went, in Prometheus's text format, for a node exporter's textfile collector.

The file is replaced in one step when the command starts, at each heartbeat, and at its end, whichever that is. What the
last end was is read back from it, so that the last success outlives a night that failed. It holds counts, times and the
bundle's names of classes, no identifier and no path, so others may read it (0644), whatever the umask.
Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lits_deploy import exits
from lits_deploy.errors import OutputError
from lits_deploy.events.emit import QUEUE, RUN, STUDY, emit
from lits_deploy.events.lines import event_of, figures_of
from lits_deploy.files import read_regular
from lits_deploy.printable import printable
from lits_deploy.release import __version__

START, HEARTBEAT, END = "start", "heartbeat", "end"
WRITTEN_AT = (START, HEARTBEAT, RUN, END)
"""Events at which the file is written."""

SUCCESSES = (exits.DONE, exits.SOME_FAILED, exits.SOME_FAILED_UNATTENDED)
"""Codes of a command that came to its end, be it that some files failed."""

MARK = "# lits-deploy wrote this: not a medical device, not for clinical use."
MODE = 0o644

METRICS = {
    "info": "Version of lits-deploy.",
    "running": "1 while the command runs; 1 and an old heartbeat: it was killed.",
    "last_start_timestamp_seconds": "When the command last started.",
    "last_end_timestamp_seconds": "When it last ended, however that was.",
    "last_success_timestamp_seconds": "When it last came to its end: exit code 0, or 1 or 4, where some files failed.",
    "last_exit_code": "Its last exit code: docs/edge.md.",
    "heartbeat_timestamp_seconds": "When this file was written.",
    "progress_done": "What is done, of progress_total, in the phase under way.",
    "progress_total": "What there is to do in the phase under way.",
    "progress_failed": "Failed so far.",
    "progress_per_second": "Rate of the phase under way.",
    "files": "Files of the run, by state: done, missing (not reached), added and removed since the run before.",
    "slices": "Slices of the run by status and class: ok, abstained, excluded. Copies count once.",
    "failed_rows": "Failed files and slices, by whether --ignore acknowledges them.",
    "run_slices": "Slices that this start answered.",
    "run_slices_per_second": "Of these, from the first file to the last row.",
    "run_seconds": "What the run took.",
    "stage_seconds": "What its stages took; decode is summed over workers, wait is the network's, for slices.",
    "inbox_entries": "Entries of the inbox by state: all, to_do, set_aside (they broke a run until they change).",
    "inbox_failures": "Runs that failed one after the other, since the last that did not.",
    "last_study_timestamp_seconds": "When the last study was classified.",
}
"""Every metric, without its prefix, and what it says. All of them are gauges and have the label `command`."""

KEPT = ("last_end_timestamp_seconds", "last_success_timestamp_seconds", "last_exit_code")
"""What a start takes over from the file that is there."""

_PREFIX = "lits_deploy_"
_MOST = 1 << 20
_SAMPLE = re.compile(rf'{_PREFIX}(\w+)\{{command="(\w+)"\}} (\S+)')
_OLD = re.compile(rf'{_PREFIX}info\{{command="(\w+)"')

Labels = tuple[tuple[str, str], ...]


class MetricsFile(logging.Handler):
    """Keeps the figures of a command's events, and writes them.

    Raises OutputError where the file cannot be written, or holds something else. What cannot be written later is noted
    once, and the command goes on.
    """

    def __init__(self, path: Path, command: str) -> None:
        super().__init__()
        self._path, self._command = path.absolute(), command
        self._samples: dict[str, dict[Labels, float]] = {}
        self._warned = False
        self.set("info", 1, version=__version__)
        for name, value in _kept(path, command).items():
            self.set(name, value)
        if not os.access(self._path.parent, os.W_OK | os.X_OK):
            raise _refused(path, f"{path.parent} is no folder that this user may write to")

    def set(self, name: str, value: float, **labels: str) -> None:
        """A metric of METRICS has this value from now on."""
        self._samples.setdefault(name, {})[tuple(labels.items())] = value

    def emit(self, record: logging.LogRecord) -> None:
        """Take in what an event says, and write the file if it is one of those."""
        event, figures = event_of(record), figures_of(record)
        if event == START:
            self.set("running", 1)
            self.set("last_start_timestamp_seconds", record.created)
        elif event == HEARTBEAT:
            self._progress(figures)
        elif event == RUN:
            self._run(figures)
        elif event == QUEUE:
            for state in ("all", "to_do", "set_aside"):
                self.set("inbox_entries", figures[state], state=state)
            self.set("inbox_failures", figures["failures"])
        elif event == STUDY:
            self.set("last_study_timestamp_seconds", record.created)
        elif event == END:
            self._end(figures["exit_code"], record.created)
        if event in WRITTEN_AT:
            self._write_or_warn(record.created)

    def write(self, now: float) -> None:
        """Write what there is. Raises OSError. now: seconds of Unix time."""
        self.set("heartbeat_timestamp_seconds", now)
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)  # of a killed process with our number, or of a write that a signal broke into
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with io.FileIO(handle, "wb") as stream:
                stream.write(self.text().encode())
                os.fchmod(handle, MODE)
                os.fsync(handle)
            temporary.replace(self._path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def text(self) -> str:
        """The file's text: what each metric is, then its samples."""
        lines = [MARK]
        for name, what in METRICS.items():
            if samples := self._samples.get(name):
                lines += [f"# HELP {_PREFIX}{name} {what}", f"# TYPE {_PREFIX}{name} gauge"]
                lines += [self._sample(name, labels, value) for labels, value in samples.items()]
        return "\n".join(lines) + "\n"

    def _write_or_warn(self, now: float) -> None:
        try:
            self.write(now)
        except OSError as error:
            if not self._warned:
                self._warned = True
                line = f"The metrics cannot be written ({error.strerror})."
                emit("warning", line, level=logging.WARNING, plain=f"warning: {line}")

    def _sample(self, name: str, labels: Labels, value: float) -> str:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in (("command", self._command), *labels))
        return f"{_PREFIX}{name}{{{inside}}} {_number(value)}"

    def _progress(self, figures: Mapping[str, Any]) -> None:
        for name in ("progress_done", "progress_total", "progress_failed", "progress_per_second"):
            self._samples.pop(name, None)  # of the phase before
            value = figures.get(name.removeprefix("progress_"))
            if value is not None:
                unit = {"unit": figures.get("unit", "")} if name == "progress_per_second" else {}
                self.set(name, value, **unit)

    def _run(self, figures: Mapping[str, Any]) -> None:
        for state in ("done", "missing", "added", "removed"):
            self.set("files", figures["files"][state], state=state)
        self._samples["slices"] = {}  # another bundle's classes
        for name, count in figures["classes"].items():
            self.set("slices", count, status="ok", **{"class": name})
        for status in ("abstained", "excluded"):
            self.set("slices", figures[status], status=status, **{"class": ""})
        self.set("failed_rows", figures["failed"] - figures["acknowledged"], acknowledged="no")
        self.set("failed_rows", figures["acknowledged"], acknowledged="yes")
        self.set("run_slices", figures["now"])
        self.set("run_slices_per_second", figures["per_second"])
        self.set("run_seconds", figures["seconds"])
        for stage, seconds in figures["stages"].items():
            self.set("stage_seconds", seconds, stage=stage.removesuffix("_s"))

    def _end(self, code: int, now: float) -> None:
        self.set("running", 0)
        self.set("last_exit_code", code)
        self.set("last_end_timestamp_seconds", now)
        if code in SUCCESSES:
            self.set("last_success_timestamp_seconds", now)


def _kept(path: Path, command: str) -> dict[str, float]:
    """What the file that is there says of the last ends of the command. Raises OutputError for a file of others."""
    try:
        text = read_regular(path, _MOST).decode("utf-8", "replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _refused(path, str(error.strerror)) from error
    if text and not text.startswith(MARK):
        raise _refused(path, "it holds something else")
    if (of := _OLD.search(text)) is not None and of[1] != command:
        raise _refused(path, f"it is that of `{of[1]}`")
    found = (_SAMPLE.fullmatch(line) for line in text.splitlines())
    return {one[1]: number for one in found if one and one[1] in KEPT and (number := _read(one[3])) is not None}


def _refused(path: Path, why: str) -> OutputError:
    return OutputError(f"The metrics {path} cannot be written: {why}.", fix="name another file, one for each command")


def _read(text: str) -> float | None:
    with suppress(ValueError):
        return float(text)
    return None


def _number(value: float) -> str:
    """As short as it can be; times of Unix to the millisecond."""
    return str(value) if isinstance(value, int) else repr(round(value, 4)).removesuffix(".0")


def _escaped(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')
