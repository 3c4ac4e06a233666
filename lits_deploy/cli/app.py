"""The `lits-deploy` program: the list of commands. `program` turns errors into exit codes, `exits` names them.

A command's module is imported when the command is named, so `--help` costs neither numpy nor a runtime.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from lits_deploy import DISCLAIMER, __version__, exits
from lits_deploy.cli.config_file import read_config
from lits_deploy.cli.lazy import group
from lits_deploy.printable import printable, say

COMMANDS = {
    "models": ("train.cli.models", "List the networks: task, parameters, input, source."),
    "data": ("train.cli.data", "Make, prepare and check training data (phantom, prepare, check)."),
    "train": ("train.cli.train", "Train a network of the thesis on CT slices."),
    "export": ("export.cli.export", "Turn a training run into a bundle that proves itself."),
    "reproduce": ("train.cli.reproduce", "Reproduce the thesis's tables and figures, printed beside measured."),
    "evaluate": ("benchmarks.cli.evaluate", "Measure a run or a bundle on labelled slices: figures, plots, one page."),
    "bundle": (
        "lits_deploy.cli.bundle",
        "Look into a bundle, pair two, pack, unpack or upgrade one (inspect, pair, pack …).",
    ),
    "verify": ("lits_deploy.cli.verify", "Check a bundle's hashes and goldens on this machine."),
    "scan": ("lits_deploy.cli.scan", "List series in folders of scans, and what would be excluded; needs no model."),
    "classify": ("lits_deploy.cli.classify", "Classify folders of CT slices with a bundle."),
    "segment": ("lits_deploy.cli.segment", "Segment liver and lesions with a U-Net's bundle: masks and volumes."),
    "plan": ("lits_deploy.cli.plan", "Split scans into shards for several devices or machines."),
    "merge": ("lits_deploy.cli.merge", "Merge the finished shards of a plan into one output folder."),
    "watch": ("lits_deploy.cli.watch", "Classify the studies of an inbox as they become complete."),
    "drift": ("lits_deploy.cli.drift", "Compare nightly results with the training data and with each other."),
    "report": ("lits_deploy.cli.report", "Redraw the tables and page of a run from its ledger."),
    "doctor": ("lits_deploy.cli.doctor", "Say what works on this machine and how to install the rest."),
    "benchmark": (
        "benchmarks.cli.benchmark",
        "Measure latency and accuracy of a bundle on this machine; compare measurements.",
    ),
    "choose": ("benchmarks.cli.choose", "Measure bundles on this machine and recommend one within limits."),
    "demo": (
        "benchmarks.cli.demo",
        "Run everything once on synthetic data: train, export, verify, classify, benchmark.",
    ),
}
"""Every command, the module that defines its `app`, and its line of help. A module is named, not imported: `train`,
`export` and `benchmarks`, which own most of them, stand above this package."""


COMPLETE = "_LITS_DEPLOY_COMPLETE"
"""Environment variable that the script of `--show-completion` sets."""


def _version(asked: bool) -> None:
    if asked:
        say(f"lits-deploy {__version__}")
        raise typer.Exit


def _config(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None:
        context.default_map = read_config(path, COMMANDS)
    return path


def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, allow_from_autoenv=False, help="Print the version."
    ),
    config: Path | None = typer.Option(
        None, metavar="FILE", callback=_config, is_eager=True, help="Options of commands from this file of TOML."
    ),
) -> None:
    pass


app = group(
    COMMANDS,
    f"Train, export, verify and run liver-CT slice networks on edge GPUs. {DISCLAIMER}",
    options=_root,
    name="lits-deploy",
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "LITS_DEPLOY"},
    epilog="Every option can also be set by $LITS_DEPLOY_<COMMAND>_<OPTION> or in a file: "
    "`lits-deploy --config FILE COMMAND`.",
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (None: the program's own); its exit code (`exits`). Raises what is to end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no → gets a ?, not a traceback
    command = typer.main.get_command(app)
    given = list(sys.argv[1:] if arguments is None else arguments)
    if COMPLETE in os.environ:  # the shell asks what may follow
        command.main(given, prog_name="lits-deploy")
    # Not `app()`: Typer would end with 1, which means failed files, where it is interrupted or a pipe breaks.
    try:
        with command.make_context("lits-deploy", given) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        return exits.USER_ERROR
    except Exception as error:
        if not hasattr(error, "show"):  # not of click, which Typer may bring in a copy of its own
            raise
        vars(error)["message"] = printable(vars(error)["message"], multiline=True)  # it quotes a wrong option or value
        error.show()
        return exits.USER_ERROR
    return exits.DONE
