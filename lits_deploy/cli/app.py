"""The `lits-deploy` program: the list of commands, and the one place where errors become exit codes.

A command's module is imported when the command is named, so `--help` costs neither numpy nor a runtime.
Exit codes: 0 done, 1 some files failed, 2 the user's error (one line, no traceback), 130 Ctrl-C.
"""

from __future__ import annotations

import io
import sys

import typer

from lits_deploy import DISCLAIMER, __version__
from lits_deploy.cli.lazy import LazyCommands
from lits_deploy.errors import UserError

COMMANDS = {
    "models": "List the networks: task, parameters, input, source.",
    "data": "Make, prepare and check training data (phantom, prepare, check).",
    "train": "Train a network of the thesis on CT slices.",
    "export": "Turn a training run into a bundle that proves itself.",
    "reproduce": "Make the thesis's tables and figures again: printed beside measured.",
    "evaluate": "Measure a run or a bundle on labelled slices: figures, plots, one page.",
    "bundle": "Look into a bundle, pack it into one file and unpack it (inspect, pack, unpack).",
    "verify": "Check a bundle's hashes and goldens on this machine.",
    "scan": "List what lies in folders of scans, and what would be skipped, without a model.",
    "classify": "Classify folders of CT slices with a bundle.",
    "segment": "Segment liver and lesions with a U-Net's bundle: masks and volumes.",
    "watch": "Classify the studies of an inbox as they become complete.",
    "report": "Draw tables and page of a run again from its ledger.",
    "doctor": "Say what works on this machine and how to install the rest.",
    "benchmark": "Measure latency and accuracy of a bundle on this machine; compare measurements.",
    "choose": "Measure bundles on this machine and recommend one within limits.",
    "demo": "Run everything once on synthetic data: train, export, verify, classify, benchmark.",
}
"""Every command and its line of help; the module of the same name in this package defines `app`."""


class _Commands(LazyCommands):
    commands_here = COMMANDS
    package = "lits_deploy.cli"


app = typer.Typer(
    cls=_Commands,
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
