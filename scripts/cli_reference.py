"""Writes docs/cli.md: the help of every command, as it prints it. A test holds the file to the commands.

python scripts/cli_reference.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from lits_deploy.cli.app import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
HEAD = """# Commands

What each command's `--help` prints, made by `python scripts/cli_reference.py`. **Not a medical device, not for clinical
use.**
"""


def reference() -> str:
    """The page."""
    parts = [HEAD, *(_section(names, text) for names, text in helps())]
    return "\n".join(parts)


def helps() -> Iterator[tuple[list[str], str]]:
    """Words of each command, groups before their members, and its help."""
    runner = CliRunner()
    for names in _commands(typer.main.get_command(app), []):
        result = runner.invoke(app, [*names, "--help"])
        if result.exit_code:
            raise SystemExit(f"`{' '.join(names)} --help` ended with {result.exit_code}: {result.output}")
        yield names, result.output


def _commands(command: Any, names: list[str]) -> Iterator[list[str]]:
    yield names
    if hasattr(command, "list_commands"):
        context = command.make_context(names[-1] if names else "lits-deploy", [], resilient_parsing=True)
        for name in command.list_commands(context):
            yield from _commands(command.get_command(context, name), [*names, name])


def _section(names: list[str], text: str) -> str:
    lines = (f"    {line}".rstrip() for line in text.strip("\n").split("\n"))
    return f"{'#' * min(2 + (len(names) > 1), 3)} {' '.join(['lits-deploy', *names])}\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
