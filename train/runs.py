"""The folder runs/, where a run lies that is given no other; no torch."""

from __future__ import annotations

import time
from pathlib import Path


def new_folder(model: str) -> Path:
    """Of a run that begins now."""
    return Path("runs") / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}"


def newest(holding: str, model: str = "") -> Path | None:
    """The run, of that network if one is named, whose file of that name is the newest; None where there is none."""
    found = [*Path("runs").glob(f"{model}-*/{holding}" if model else f"*/{holding}")]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None
