"""`-v`, `-q`, `--log-format`, `--log-file` and `--metrics`, which every long command has."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, TypeVar

import typer

from lits_deploy.errors import OutputError, UserError

R = TypeVar("R")

PANEL = "Logs and metrics"

OPTIONS: dict[str, tuple[Any, Any]] = {
    "verbose": (
        bool,
        typer.Option(
            False, "--verbose", "-v", rich_help_panel=PANEL, help="Also log the phases and the figures of a run."
        ),
    ),
    "quiet": (
        bool,
        typer.Option(
            False, "--quiet", "-q", rich_help_panel=PANEL, help="Only errors and the result: no bar, no warnings."
        ),
    ),
    "log_format": (
        Literal["text", "json"] | None,
        typer.Option(
            None,
            rich_help_panel=PANEL,
            help="One event per line on standard error, with its time in UTC. [default: lines for a person; without a"
            " terminal also a heartbeat per minute]",
        ),
    ),
    "log_file": (
        Path | None,
        typer.Option(
            None,
            metavar="FILE",
            rich_help_panel=PANEL,
            help="Also append the events to this file, as text or as --log-format says.",
        ),
    ),
    "metrics": (
        Path | None,
        typer.Option(
            None,
            metavar="FILE",
            rich_help_panel=PANEL,
            help="Write metrics to this file in Prometheus text format: last start, end and success, counts, rates.",
        ),
    ),
}
"""Each with its type; named as the fields of `events.session.ReportingOptions`."""

WATCHED = ("bundle", "segmenter", "scans", "inbox")
"""Arguments that name folders whose every file counts, so that no log may lie in them."""


def reported(name: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """A command with OPTIONS, whose events are written as they say. name: of the command in them."""

    def extended(command: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(command)
        def run(**given: Any) -> R:
            from lits_deploy.cli.console import errors, json_alone
            from lits_deploy.events.session import CommandSession, ReportingOptions

            asked = ReportingOptions(**{option: given.pop(option) for option in OPTIONS})
            if asked.verbose and asked.quiet:
                raise UserError("--verbose and --quiet exclude each other.", fix="give one of them")
            _check_folders(asked.log_file, asked.metrics, given)
            alone = json_alone() if given.get("as_json") else nullcontext()
            if not speaks():
                with alone:
                    return command(**given)
            with CommandSession(name, asked, show=errors.print, terminal=errors.is_terminal), alone:
                return command(**given)

        signature = inspect.signature(command)
        shared = [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for option, (kind, default) in OPTIONS.items()
        ]
        vars(run)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), *shared])
        return run

    return extended


def speaks() -> bool:
    """Whether this process speaks for the command: of several that torchrun has started, one does."""
    return os.environ.get("RANK", "0") == "0" or "WORLD_SIZE" not in os.environ


def _check_folders(log: Path | None, metrics: Path | None, given: Mapping[str, Any]) -> None:
    for option, path in (("--log-file", log), ("--metrics", metrics)):
        for argument in WATCHED:
            named = given.get(argument)
            for folder in filter(None, named if isinstance(named, list) else [named]):
                if path is None or "://" in str(folder):
                    continue
                if Path(folder).resolve() in path.resolve().parents:
                    raise OutputError(f"The file of {option} lies in the {argument}.", fix=f"{option} elsewhere")
