"""report.html: one file that opens anywhere, offline, on a phone and on paper; equal ledgers give equal bytes.

Paths, reasons and names of series come from outside and may be hostile. They reach the page through Jinja's autoescape
alone, as text between tags or in attributes; drawings are made of numbers (`strip`). A security policy in the page
forbids everything but its own style sheet, its own script (both by hash) and its pictures.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from lits_deploy.errors import OutputError
from lits_deploy.files import write_text
from lits_deploy.ledger import Ledger
from lits_deploy.pages import inline, render, style
from lits_deploy.report import formatting, pair, strip
from lits_deploy.report.choose import SERIES, SLICES, WORTH
from lits_deploy.report.view import MOST_STRIPS, ReportView, view
from lits_deploy.studies import NEIGHBOURS


def write_page(ledger: Ledger, path: Path) -> Path:
    """Draw the ledger's page, whole or not at all. Raises OutputError where it cannot be written."""
    text = page(view(ledger))
    try:
        write_text(path, text)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}).", fix="make room") from error
    return path


def page(shown: ReportView) -> str:
    """The whole page as text."""
    folder = Path(__file__).parent
    script = inline(folder / "page.js")
    return render(
        folder,
        v=shown,
        formatting=formatting,
        both=pair,
        strip=strip,
        script=script,
        policy=_policy(style(folder), script),
        jpeg=lambda jpeg: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}",
        neighbours=NEIGHBOURS,
        pictured=SERIES,
        pictures_each=SLICES,
        worth=WORTH,
        strips=MOST_STRIPS,
    )


def _policy(sheet: str, script: str) -> str:
    """Content security policy: nothing from anywhere, and only what this module put in."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest(sheet)}'; "
        f"script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'"
    )
