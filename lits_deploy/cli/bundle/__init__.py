"""`lits-deploy bundle`: look into a bundle, pack, unpack or upgrade it. One module a command."""

from __future__ import annotations

import typer

from lits_deploy.cli.lazy import LazyCommands

COMMANDS = {
    "inspect": ("lits_deploy.cli.bundle.inspect", "What a stranger would ask of a bundle, on one screen."),
    "pack": ("lits_deploy.cli.bundle.pack", "One zip file with the same hashes."),
    "unpack": ("lits_deploy.cli.bundle.unpack", "A bundle from its zip file, checked."),
    "upgrade": ("lits_deploy.cli.bundle.upgrade", "A bundle of an older schema, written in today's."),
}


class _Commands(LazyCommands):
    commands_here = COMMANDS


app = typer.Typer(cls=_Commands, rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback()
def _bundle() -> None:
    """Look into a bundle, pack, unpack or upgrade it."""
