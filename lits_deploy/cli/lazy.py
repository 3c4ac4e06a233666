"""A group of commands that imports a command's module only when that command is named."""

from __future__ import annotations

import difflib
import importlib
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from lits_deploy import exits


class LazyCommands(TyperGroup):
    """Commands by name: the module that defines `app`, and a line of help. Subclasses set them."""

    commands_here: ClassVar[dict[str, tuple[str, str]]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of a working day."""
        return list(self.commands_here)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names; a usage error suggests the one that was meant."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.commands_here:
            near = difflib.get_close_matches(name, self.commands_here, n=2, cutoff=0.6)
            meant = f" Did you mean {' or '.join(f'`{word}`' for word in near)}?" if near else ""
            ctx.fail(f"No such command `{name}`.{meant}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command's module: only when that command is run or asked for its help."""
        if cmd_name not in self.commands_here:
            return None
        module, _ = self.commands_here[cmd_name]
        command = typer.main.get_command(importlib.import_module(module).app)
        if not isinstance(command, TyperGroup):
            command.epilog = command.epilog or exits.in_help("0 done")
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The overview needs the names and lines above, no module."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.commands_here.items()])
