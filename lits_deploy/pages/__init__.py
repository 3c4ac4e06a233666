"""What all HTML pages share: base template, style sheet and parts; what a template inserts is escaped and printable.

    base.html.jinja   the frame that a page's template extends: one file, no network, nothing beside it
    base.css          colours for light and dark, text, tables, plots, print; a folder's page.css comes after it
    parts.html.jinja  a table, a list of facts, a figure with its legend

No other module makes a jinja environment or escapes for itself (tests/test_output.py).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import markupsafe
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lits_deploy.printable import printable
from lits_deploy.release import DISCLAIMER, __version__

BASE = Path(__file__).parent


def render(folder: Path, *, filters: dict[str, Any] | None = None, **values: Any) -> str:
    """The page of a folder's page.html.jinja: autoescape, and an error for what is not defined.

    Templates get the values, and `style` (`style`), `disclaimer` and `version`; the filter `prose` is always there.
    """
    pages = Environment(
        loader=FileSystemLoader([folder, BASE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    pages.filters |= {"prose": prose, **(filters or {})}
    shared = {"style": style(folder), "disclaimer": DISCLAIMER, "version": __version__}
    return pages.get_template("page.html.jinja").render(shared | values)


@cache
def style(folder: Path) -> Markup:
    """The style sheet of a folder's page: what all share, then its own."""
    return inline(BASE / "base.css") + inline(folder / "page.css")


def inline(path: Path) -> Markup:
    """One of our own files, to stand between its tags as it is."""
    return Markup(path.read_text(encoding="utf-8"))


def escape(text: str) -> Markup:
    """Text as HTML shows it, printable: for markup that is put together in Python."""
    return markupsafe.escape(printable(text, multiline=True))


def prose(text: str) -> Markup:
    """Text with `code` in backticks; everything else is escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _finalize(value: Any) -> Any:
    return printable(value, multiline=True) if type(value) is str else value  # markup was made with `escape`
