"""Every command of the program, by its words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from lits_deploy.cli.app import app


def all_commands() -> dict[str, Any]:
    """Each command that is no group."""
    return dict(_below(typer.main.get_command(app), ()))


def _below(command: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "list_commands"):
        yield " ".join(names), command
        return
    context = command.make_context(names[-1] if names else "lits-deploy", [], resilient_parsing=True)
    for name in command.list_commands(context):
        yield from _below(command.get_command(context, name), (*names, name))
