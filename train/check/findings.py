"""One thing that a check found, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lits_deploy.scans.paths import escape

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""From bad to harmless. An error spoils training or figures, a warning may, a note is good to know."""


@dataclass(frozen=True)
class Finding:
    """What was found, where, and what to do.

    kind: a fixed word for programs, such as `near-duplicate`.
    location: a file relative to the data set, `patient N`, a split, or `data set`.
    message: one plain line that ends with what to do.
    """

    severity: Severity
    kind: str
    location: str
    message: str


def in_order(findings: list[Finding]) -> list[Finding]:
    """Errors first, then by kind and location: the same data gives the same list."""
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.kind, f.location, f.message))


def name_of(root: Path, path: Path) -> str:
    """A file's name in findings: relative to the data set, on one printable line."""
    return escape(path.relative_to(root).as_posix())
