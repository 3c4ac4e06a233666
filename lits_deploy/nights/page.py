"""drift.html: nights beside the training series and beside each other, in one file that opens anywhere, offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lits_deploy.errors import OutputError
from lits_deploy.files import write_text
from lits_deploy.nights import formatting
from lits_deploy.nights.plot import MOST, Strips
from lits_deploy.nights.report import Nights
from lits_deploy.pages import render


def write_page(nights: Nights, path: Path) -> Path:
    """Draw the page, whole or not at all. Raises OutputError where it cannot be written."""
    try:
        write_text(path, page(nights))
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}).", fix="--out elsewhere") from error
    return path


def page(nights: Nights) -> str:
    """The whole page as text."""
    shown = [(one, Strips(one)) for one in nights.comparisons]
    return render(
        Path(__file__).parent, d=nights, shown=shown, formatting=formatting, most=f"{MOST:g}", names=_names(nights)
    )


def _names(nights: Nights) -> Sequence[str]:
    return [night.sample.name for night in nights.nights]
