"""Helpers for tests of the watch: a clock that moves when the watch waits, and a script of what happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_runtime import FakeRuntime
from folder_runs import SALT, fields_of
from lits_deploy.bundle import Bundle
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.watch.service import WatchNotices, WatchOptions, watch_folder


class Script:
    """Changes that happen while the watch waits: (seconds of waiting, what happens at their end); then it ends.

    A wait that is shorter than the next step's seconds takes that much off them.
    """

    method = "by a script"

    def __init__(self, stop: Stop, *steps: tuple[float, Callable[[], Any]]) -> None:
        self.stop, self.steps, self.now = stop, list(steps), 1000.0

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> set[str] | None:
        if not self.steps:
            self.stop.request()
            return set()
        left, act = self.steps[0]
        if seconds < left:
            self.now += seconds
            self.steps[0] = (left - seconds, act)
            return set()
        self.now += left
        self.steps.pop(0)
        act()
        return None

    def close(self) -> None:
        pass


def nothing() -> None:
    """Time passes."""


class Watched:
    """A watch that has ended: its lines and notes, and the script's clock at each line."""

    def __init__(
        self, bundle: Bundle, inbox: Path, out: Path, *steps: tuple[float, Callable[[], Any]], **arguments: Any
    ) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.times: list[float] = []
        stop = Stop()
        script = Script(stop, *steps)

        def say(line: object) -> None:
            self.lines.append(str(line))
            self.times.append(script.now - 1000)

        def broke(entry: str, why: str) -> None:
            self.notes.append(f"Entry {entry} broke its run: {why}")

        notices = arguments.pop("notices", None)
        options = arguments.pop("options", ClassifyOptions(salt=SALT, workers=1))
        runtime = arguments.pop("runtime", None) or FakeRuntime(shape=bundle.manifest.contract.shape)
        self.summary = watch_folder(
            bundle,
            inbox,
            out,
            options=options,
            watch=WatchOptions(changes=script, clock=script.clock, **fields_of(WatchOptions, arguments)),
            runtime=runtime,
            hooks=RunHooks(stop=stop, **fields_of(RunHooks, arguments)),
            notices=WatchNotices(study=say, note=self.notes.append, broke=broke, **(notices or {})),
            **arguments,
        )
