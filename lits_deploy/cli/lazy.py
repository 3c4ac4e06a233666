"""A group of commands that imports a command's module only when that command is named."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from lits_deploy import exits
from lits_deploy.cli.config_file import defaults, refuse_unknown_variables

Commands = Mapping[str, tuple[str, str]]
"""Commands by name: the module that defines the function of that name (or an `app`), and a line of help."""

Command = TypeVar("Command", bound=Callable[..., None])


def exit_codes(*own: str) -> Callable[[Command], Command]:
    """Notes the exit codes of a command for its help; one without says `0 done`."""

    def noted(command: Command) -> Command:
        vars(command)["exit_codes"] = own
        return command

    return noted


VALUES = {int: "N", float: "X", str: "", Path: "PATH"}
"""What stands for an option's value in help, where the option does not say: versions of Typer name Python types. A text
has the last word of the option's name."""


def with_value_names(command: Any) -> Any:
    """A command, or group, whose help has VALUES behind its options and capitals for its arguments."""
    types = _types(command.callback) if command.callback else {}
    for parameter in command.params:
        if parameter.envvar is None:
            parameter.show_envvar = False  # every option has one: `configured`
        if not parameter.expose_value:
            parameter.allow_from_autoenv = False  # installing completion is no setting
        if parameter.param_type_name == "argument":
            parameter.metavar = parameter.metavar or parameter.name.upper()
            if hasattr(parameter, "display_type_rich"):  # Typer 0.29 shows the type beside the name
                parameter.display_type_rich = lambda ctx: None
        elif parameter.metavar is None and (kind := _plain_type(types.get(parameter.name))) in VALUES:
            parameter.metavar = VALUES[kind] or parameter.opts[0].rpartition("-")[2].upper()
    for member in getattr(command, "commands", {}).values():
        with_value_names(member)
    return command


def name_variables(command: Any, prefix: str) -> None:
    """Let the environment set a command's options, by their spelling: `LITS_DEPLOY_CLASSIFY_BATCH_SIZE`.

    Typer's own names are of the parameters in Python.
    """
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.envvar is None and parameter.expose_value:
            spelled = next((option for option in parameter.opts if option.startswith("--")), None)
            if spelled is not None and parameter.name != "help":
                parameter.envvar = f"{prefix}_{spelled.removeprefix('--')}".upper().replace("-", "_")


def _types(function: Any) -> dict[str, Any]:
    """Types of a function's parameters; where it shares options with others, those stand in its signature alone."""
    listed = {name: one.annotation for name, one in inspect.signature(function).parameters.items()}
    return {**listed, **get_type_hints(function)}


def _plain_type(annotation: Any) -> Any:
    """`int` of int, int | None and list[int]."""
    return next((inner for inner in get_args(annotation) if inner in VALUES), annotation)


class Panelled(TyperCommand):
    """A command whose help lists options with a `rich_help_panel` below the others, under that title."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Typer does so where rich draws its help, which is off here."""
        panels: dict[str, list[Any]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(record)
        for title, records in panels.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class LazyCommands(TyperGroup):
    """Commands that are listed by name; `group` makes subclasses that list them."""

    commands_here: ClassVar[Commands] = {}

    def get_params(self, ctx: Any) -> Any:
        """Also those of completion, which Typer adds after a group was made."""
        return super(LazyCommands, with_value_names(self)).get_params(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of a working day."""
        return list(self.commands_here)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names; a usage error suggests the one that was meant."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.commands_here:
            close = difflib.get_close_matches(name, self.commands_here, n=2, cutoff=0.6)
            meant = f" Did you mean {' or '.join(f'`{word}`' for word in close)}?" if close else ""
            ctx.fail(f"No such command `{name}`.{meant}")
        found = super().resolve_command(ctx, args)
        prefix = f"{ctx.auto_envvar_prefix}_{name}".upper().replace("-", "_")
        name_variables(found[1], prefix)
        if not ctx.resilient_parsing:  # completion
            refuse_unknown_variables(found[1], prefix, os.environ)
        if ctx.default_map and name in ctx.default_map:
            full_name, path = f"{ctx.command_path} {name}", ctx.find_root().params["config"]
            ctx.default_map = {**ctx.default_map, name: defaults(ctx.default_map[name], found[1], full_name, path)}
        return found

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command's module: only when that command is run or asked for its help."""
        if cmd_name not in self.commands_here:
            return None
        module = importlib.import_module(self.commands_here[cmd_name][0])
        if (app := getattr(module, "app", None)) is None:
            function, app = getattr(module, cmd_name), typer.Typer(rich_markup_mode=None, add_completion=False)
            app.command(cls=Panelled, epilog=exits.in_help(*vars(function).get("exit_codes", ("0 done",))))(function)
        return with_value_names(typer.main.get_command(app))

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
    given = {"rich_markup_mode": None, "add_completion": False, "no_args_is_help": True, **more}
    app = typer.Typer(cls=listed, help=text, **given)
    app.callback()(options)
    return app
