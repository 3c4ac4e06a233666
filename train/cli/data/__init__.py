"""`lits-deploy data`: make, prepare and check training data. One module a command."""

from __future__ import annotations

import typer

from lits_deploy.cli.lazy import LazyCommands

COMMANDS = {
    "phantom": ("train.cli.data.phantom", "Write synthetic CT slices, volumes or DICOM series with masks."),
    "prepare": (
        "train.cli.data.prepare",
        "Turn LiTS volumes, lits-png, MSD or image and mask folders into the training layout.",
    ),
    "check": ("train.cli.data.check", "Look for leaks, broken files and doubtful masks in a data set."),
}


class _Commands(LazyCommands):
    commands_here = COMMANDS


app = typer.Typer(cls=_Commands, rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Make, prepare and check training data."""
