"""HTML pages made safe in one place: what a template inserts is escaped and printable, so is every text of a drawing.

No other module makes a jinja environment or escapes for itself (tests/test_output.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import markupsafe
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lits_deploy.printable import printable


def environment(folder: Path) -> Environment:
    """The templates of a folder: autoescape, and an error for what is not defined."""
    return Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=_finalize,
    )  # fmt: skip


def escape(text: str) -> markupsafe.Markup:
    """Text as HTML shows it, printable: for markup that is put together in Python."""
    return markupsafe.escape(printable(text, multiline=True))


def _finalize(value: Any) -> Any:
    return printable(value, multiline=True) if type(value) is str else value  # markup was made with `escape`
