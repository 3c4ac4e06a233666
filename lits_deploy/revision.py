"""Which revision of the source this code runs from: for manifests, config.json and benchmark records."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path


def git_revision() -> str | None:
    """Revision of the checkout this code runs from; None for an installed wheel."""
    with suppress(OSError, subprocess.CalledProcessError):
        root = Path(__file__).resolve().parent.parent
        if (root / ".git").exists():
            command = ["git", "-C", str(root), "rev-parse", "HEAD"]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return None
