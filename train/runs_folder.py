"""The folder runs/, where a run lies that is given no other, and what tells a folded run from another; no torch."""

from __future__ import annotations

import time
from pathlib import Path

FOLDED = "folds.json"
"""What a run of `train --folds` has, and no other (`train.folds`)."""


def is_folded(run: Path) -> bool:
    """Whether a folder is a run of `train --folds`."""
    return (run / FOLDED).is_file()


def new_folder(model: str) -> Path:
    """Of a run that begins now."""
    return Path("runs") / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}"


def newest(*holding: str, model: str = "") -> Path | None:
    """The run, of that network if one is named, whose file of one of these names is the newest; None without one."""
    folders = f"{model}-*" if model else "*"
    found = [path for name in holding for path in Path("runs").glob(f"{folders}/{name}")]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None
