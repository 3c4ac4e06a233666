"""How far a command is: what a progress bar shows, as a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ProgressFigures:
    """done, total: of what is counted, such as files; failed: of them; per_second: of `unit`, such as slices; left_s:
    seconds that are left at the rate of the last half minute. note: a few words; more: figures of a command's own."""

    what: str = ""
    done: int | float | None = None
    total: int | float | None = None
    failed: int | None = None
    per_second: float | None = None
    unit: str = ""
    left_s: float | None = None
    note: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    def known(self) -> dict[str, Any]:
        """By name, those that there are."""
        rounded = None if self.per_second is None else round(self.per_second, 1)
        values = {**vars(self), "per_second": rounded, "more": None, **self.more}
        return {name: value for name, value in values.items() if value not in (None, "")}
