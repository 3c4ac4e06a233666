"""A group of commands that imports a command's module only when that command is named."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import typer
from typer.core import TyperGroup

from lits_deploy import exits

Commands = Mapping[str, tuple[str, str]]
"""Commands by name: the module that defines the function of that name (or an `app`), and a line of help."""

Command = TypeVar("Command", bound=Callable[..., None])


def exit_codes(*own: str) -> Callable[[Command], Command]:
    """Notes the exit codes of a command for its help; one without says `0 done`."""

    def noted(command: Command) -> Command:
        vars(command)["exit_codes"] = own
        return command

    return noted


class LazyCommands(TyperGroup):
    """Commands that are listed by name; `group` makes subclasses that list them."""

    commands_here: ClassVar[Commands] = {}

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
        module = importlib.import_module(self.commands_here[cmd_name][0])
        if (app := getattr(module, "app", None)) is None:
            function, app = getattr(module, cmd_name), typer.Typer(rich_markup_mode=None, add_completion=False)
            app.command(epilog=exits.in_help(*vars(function).get("exit_codes", ("0 done",))))(function)
        return typer.main.get_command(app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The overview needs the names and lines above, no module."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.commands_here.items()])


def group(
    commands: Commands,
    text: str,
    *,
    base: type[LazyCommands] = LazyCommands,
    options: Callable[..., None] = lambda: None,
    **more: Any,
) -> typer.Typer:
    """An `app` of commands. text: its help; options: a function with its own, which does nothing; more: of Typer."""
    listed = type("Listed", (base,), {"commands_here": commands})
    app = typer.Typer(cls=listed, rich_markup_mode=None, add_completion=False, no_args_is_help=True, help=text, **more)
    app.callback()(options)
    return app
