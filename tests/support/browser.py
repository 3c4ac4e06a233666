"""A headless Chromium for tests: opens a page, runs a script in it, and gives back its console and what it found."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FOUND = "found-by-the-test"


def visit(page: str, folder: Path, script: str) -> tuple[list[str], Any]:
    """(console messages, what `script` returns) for a page's text; skips where there is no Chromium.

    script: the body of a function, run after the page's own scripts; the page's policy is widened by its hash alone.
    """
    binary = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip(f"needs Chromium ({' or '.join(_NAMES)})")
    code = (
        f"const use = () => {{ {script} }}; let found;"
        "try { found = use(); } catch (error) { found = String(error.stack); }"
        f"const out = document.createElement('pre'); out.id = {json.dumps(_FOUND)};"
        "out.textContent = JSON.stringify(found === undefined ? null : found); document.body.append(out);"
    )
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    widened = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    assert widened != page
    path = folder / "visited.html"
    path.write_text(widened.replace("</body>", f"<script>{code}</script></body>"), encoding="utf-8")
    command = [
        binary,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--window-size=1280,900",
        "--virtual-time-budget=5000",
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = re.findall(r":CONSOLE[^\]]*\] (.*)", done.stderr)
    dumped = re.search(rf'<pre id="{_FOUND}">(.*?)</pre>', done.stdout, re.DOTALL)
    assert dumped, done.stderr[-2000:]
    text = dumped[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return console, json.loads(text)
