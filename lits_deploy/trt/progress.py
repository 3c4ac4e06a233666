"""TensorRT's nested phases as one share between 0 and 1 that never falls. Called from TensorRT's own threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """Adds phases up and carries the wish to cancel to the builder.

    A phase's share is that of its finished steps, and of the step it is at as far as phases inside it have come.
    """

    def __init__(self, on_progress: Callable[[float, str], None]) -> None:
        self._say, self._lock = on_progress, threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._most = 0.0
        self.cancelled = False

    def cancel(self) -> None:
        """The next step's end tells the builder to give up."""
        self.cancelled = True

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, inside another or on its own."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(1, steps))
        self._report(name)

    def step(self, name: str, step: int) -> bool:
        """A step has ended; False asks the builder to stop."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
        self._report(name)
        return not self.cancelled

    def finish(self, name: str) -> None:
        """A phase has ended."""
        with self._lock:
            ended = self._phases.pop(name, None)
            if ended is not None and ended.parent not in self._phases:
                self._most = 1.0
        self._report(name)

    def _report(self, name: str) -> None:
        with self._lock:
            roots = [phase for phase in self._phases if self._phases[phase].parent not in self._phases]
            self._most = max([self._most, *(self._share(phase) for phase in roots)])
            share = self._most
        self._say(share, name)

    def _share(self, name: str) -> float:
        phase = self._phases[name]
        inside = max((self._share(n) for n, p in self._phases.items() if p.parent == name), default=0.0)
        return min(1.0, (phase.done + inside) / phase.steps)
