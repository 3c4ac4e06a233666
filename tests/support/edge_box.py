"""`lits-deploy` as it is typed on a machine that lacks libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def block(home: Path, *names: str) -> None:
    """Modules that programs started by `edge_box` in this folder cannot import, in blocked/."""
    (home / "blocked").mkdir()
    for name in names:
        (home / "blocked" / f"{name}.py").write_text(f"raise ModuleNotFoundError('blocked', name='{name}')\n")


def edge_box(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command there."""
    command, path = [sys.executable, "-m", "lits_deploy", *arguments], str(home / "blocked")
    return subprocess.run(command, cwd=home, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
