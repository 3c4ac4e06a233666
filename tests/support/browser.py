"""A headless Chromium for tests: opens a page, runs a script in it, and gives back its console and what it found."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FOUND = "found-by-the-test"
_NARROWEST = 500
"""Chromium makes no narrower window: such a page is shown in a frame."""


def visit(
    page: str, folder: Path, script: str, *, width: int = 1280, dark: bool = False, library: str = ""
) -> tuple[list[str], Any]:
    """(console messages, what `script` returns) for a page's text; skips where there is no Chromium.

    script: the body of an async function, run after the page's own scripts and `library`; the page's policy is widened
    by their hash alone. dark: what the page is told of the reader's colour scheme.
    """
    binary = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip(f"needs Chromium ({' or '.join(_NAMES)})")
    code = (
        f"const use = async () => {{ {script} }};"
        "const tell = (found) => parent.postMessage(JSON.stringify(found === undefined ? null : found), '*');"
        "use().then(tell, (error) => tell(String(error.stack)));"
    )
    written = _write(page, "visited.html", folder, library.replace("</script", "<\\/script"), _LISTEN, code)
    if width < _NARROWEST:
        frame = f'<body style="margin:0"><iframe src="{written.name}" width="{width}" height="900"></iframe></body>'
        written = _write(frame, "frame.html", folder, _LISTEN)
    command = [
        binary,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--window-size={width},900",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--virtual-time-budget=5000",
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        written.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = re.findall(r":CONSOLE[^\]]*\] (.*)", done.stderr)
    dumped = re.search(rf'<pre id="{_FOUND}">(.*?)</pre>', done.stdout, re.DOTALL)
    assert dumped, done.stderr[-2000:]
    return console, json.loads(html.unescape(dumped[1]))


_LISTEN = (
    "addEventListener('message', (event) => { const out = document.createElement('pre');"
    f"out.id = {json.dumps(_FOUND)}; out.textContent = event.data; document.body.append(out); }});"
)


def _write(page: str, name: str, folder: Path, *scripts: str) -> Path:
    """A page as a file, with scripts at its end that its policy lets run."""
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        page = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    added = "".join(f"<script>{script}</script>" for script in scripts)
    path = folder / name
    path.write_text(page.replace("</body>", f"{added}</body>"), encoding="utf-8")
    return path
