"""What `watch` says to whom: lines for people, events for logs and metrics, signs of life for systemd."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from time import monotonic

from lits_deploy.cli.console import console, note
from lits_deploy.events.emit import QUEUE, STUDY, emit, phase
from lits_deploy.events.progress import ProgressFigures
from lits_deploy.pipeline.options import Progress
from lits_deploy.watch.service import Queue, WatchNotices
from lits_deploy.watch.studies import StudyLine
from lits_deploy.watch.systemd import Systemd

LOOK_S = 5.0
"""Seconds between two counts of an idle inbox."""


class Watching:
    """Keeps what heartbeats say of the watch, and tells the rest at once."""

    def __init__(self, systemd: Systemd, clock: Callable[[], float] = monotonic) -> None:
        self._systemd, self._clock = systemd, clock
        self._queue: Queue | None = None
        self._progress: Progress | None = None
        self._entries = 0
        self._next_look = 0.0

    def notices(self) -> WatchNotices:
        """What the watch is to call."""
        return WatchNotices(
            study=self._study, note=note, broke=self._broke, ready=self._systemd.ready, idle=self._idle, run=self._run
        )

    def figures(self) -> ProgressFigures:
        """For a heartbeat."""
        queue = {} if self._queue is None else {f"inbox_{name}": n for name, n in asdict(self._queue).items()}
        if (progress := self._progress) is None:
            return ProgressFigures(what="idle", more=queue)
        rate = progress.slices / progress.seconds if progress.seconds else None
        return ProgressFigures(
            what="run",
            done=progress.done,
            total=progress.files,
            failed=progress.failed,
            per_second=rate,
            unit="slices",
            note=progress.note,
            more=queue,
        )

    def _study(self, line: StudyLine) -> None:
        console.print(str(line))
        # Without the entry: it may be called after a patient.
        fields = {name: value for name, value in asdict(line).items() if name != "entry" and value is not None}
        emit(STUDY, level=logging.INFO, **fields)

    def _broke(self, entry: str, why: str) -> None:
        plain = f"Entry {entry} broke its run: {why}"
        emit("entry_broke", f"An entry broke its run: {why}", level=logging.WARNING, plain=plain)

    def _idle(self, find: Callable[[], Queue]) -> None:
        ran, self._progress = self._entries, None
        if ran or self._clock() >= self._next_look:
            self._entries, self._next_look = 0, self._clock() + LOOK_S
            if (queue := find()) != self._queue:
                self._queue = queue
                emit(QUEUE, **asdict(queue))
            if ran:
                phase("idle")
        current = self._queue
        assert current is not None
        self._systemd.idle(f"Watching: {_entries(current.all)}, {current.to_do:,} to do")

    def _run(self, entries: int) -> None:
        self._entries = entries
        self._systemd.busy(f"Classifying {_entries(entries)}")

    def on_progress(self, progress: Progress) -> None:
        """Where a run of the watch is."""
        self._progress = progress
        if self._entries:  # not of the run over nothing, before the start has succeeded
            done = f"{progress.done:,} of {progress.files:,} files"
            self._systemd.busy(f"Classifying {_entries(self._entries)}: {done}")


def _entries(count: int) -> str:
    return f"{count:,} entr{'y' if count == 1 else 'ies'}"
