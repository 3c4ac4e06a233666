"""The `lits-deploy` program: the list of commands, and the one place where errors become exit codes.

A command's module is imported when the command is named, so `--help` costs neither numpy nor a runtime.
Exit codes: 0 done, 1 some files failed, 2 the user's error (one line, no traceback), 130 Ctrl-C.
"""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from lits_deploy import DISCLAIMER, __version__
from lits_deploy.errors import UserError

COMMANDS = {
    "models": "List the networks: task, parameters, input, source.",
    "data": "Make and prepare training data (phantom).",
    "train": "Train a network of the thesis on CT slices.",
    "export": "Turn a training run into a bundle that proves itself.",
    "verify": "Check a bundle's hashes and goldens on this machine.",
    "classify": "Classify folders of CT slices with a bundle.",
    "benchmark": "Measure latency and accuracy of a bundle on this machine.",
    "demo": "Run everything once on synthetic data: train, export, verify, classify, benchmark.",
}
"""Every command and its line of help; the module of the same name in this package defines `app`."""


class LazyCommands(TyperGroup):
    """A group that knows its commands' names and imports a command's module only to run or describe it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of a working day."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command's module: only when that command is run or asked for its help."""
        if cmd_name not in COMMANDS:
            return None
        return typer.main.get_command(importlib.import_module(f"lits_deploy.cli.{cmd_name}").app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The overview needs the names and lines above, no module."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=LazyCommands,
    name="lits-deploy",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    help=f"Train, export, verify and run liver-CT slice networks on edge GPUs. {DISCLAIMER}",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"lits-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def run() -> None:
    """Run the program and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no → gets a ?, not a traceback
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
