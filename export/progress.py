"""How the work of an export is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ExportProgress:
    """A line; the start of a phase with its number of steps; steps done."""

    say: Callable[[str], None] = lambda _: None
    phase: Callable[[str, int], None] = lambda _name, _total: None
    progress: Callable[[int], None] = lambda _: None
