"""`--devices` and `--on` of `classify` and `segment`: one run on several devices or machines, in one command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import typer

from lits_deploy import exits
from lits_deploy.cli import run_options
from lits_deploy.errors import UserError

if TYPE_CHECKING:
    from lits_deploy.pipeline.options import ClassifyOptions, Progress
    from lits_deploy.sharding.spread import Hire, Spread, SpreadSummary

DEVICES = typer.Option(
    None,
    "--devices",
    metavar="all|cuda:0,cuda:1|cpu:2",
    help="Spread the run over these devices, one process each; --batch-size, --workers and --threads apply to each.",
)
ON = typer.Option(
    None,
    "--on",
    metavar="ray[://ADDRESS]",
    help="Spread the run over a Ray cluster whose nodes see the scans at the same paths; without an address, over a"
    " local Ray on this machine. Needs the extra `ray`.",
)

SHARD_SLICES = typer.Option(
    None,
    "--shard-slices",
    min=1,
    help="With --devices or --on: most slices handed out at once. [default: 1/32 of all, 1,000 to 20,000]",
)

_SHOWN = 10


class AskedSpread(NamedTuple):
    """What a run is spread over."""

    devices: str | None
    on: str | None
    shard_slices: int | None


def asked_for(
    devices: str | None, on: str | None, shard_slices: int | None, options: ClassifyOptions, job: str | None
) -> AskedSpread | None:
    """What a run is to be spread over; None: nothing. Raises UserError for options that do not go together."""
    if devices is None and on is None:
        if shard_slices is not None:
            raise UserError("--shard-slices is of a run on several devices.", fix="add --devices all, or leave it out")
        return None
    name = "--on" if devices is None else "--devices"
    if job is not None:
        raise UserError(f"{name} makes a plan of its own.", fix=f"leave --job out, or {name}")
    if options.device != "auto":
        raise UserError(f"--device and {name} name the same thing.", fix="leave --device out")
    return AskedSpread(devices, on, shard_slices)


def do_spread(asked: AskedSpread, spread: Spread, *, named: str | None = None, as_json: bool = False) -> NoReturn:
    """Run it, and say how it went. named: what the user calls its `out`."""
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import complain, note, print_json, progress_bar, warn
    from lits_deploy.cli.summaries import run_document
    from lits_deploy.events.wording import Quoting
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.sharding.spread import spread_run

    if spread.segmenter is not None:
        Bundle.open(spread.segmenter)
    hire, spread = _hire(asked, spread.options), replace(spread, shard_slices=asked.shard_slices)
    with progress_bar() as bar, stop_on_signals() as stop:
        show = run_options.progress_shown(bar, spread.task, stop, last="writing tables")
        drawn = bar.task_ids[-1]

        def planning(what: str, files: int) -> None:
            bar.update(drawn, note=f"{what}: {files:,}")

        def merging(progress: Progress) -> None:
            bar.update(drawn, note="merging")

        summary = spread_run(spread, hire, on_plan=planning, on_progress=show, on_merge=merging, stop=stop)
    for line in summary.notes:
        warn(Quoting(line, logged="A worker or the plan has something to say, which standard error has without a log."))
    for warning in summary.merged.run.warnings:
        if warning not in summary.notes:
            warn(warning)
    for number, why in list(summary.failed.items())[:_SHOWN]:
        note(Quoting(f"shard {number} failed: {why}", logged=f"shard {number} failed"))
    if as_json:
        figures = {"workers": summary.workers, "slices": summary.slices, "seconds": summary.seconds}
        document = run_document(named, summary.merged.run, summary.merged.segmented)
        print_json({**document, "spread": {**figures, "failed": {str(n): why for n, why in summary.failed.items()}}})
    else:
        print_spread(summary)
    if stop.requested:
        raise typer.Exit(stop.exit_code)
    if summary.merged.missing:
        missing, shards = len(summary.merged.missing), summary.merged.shards
        complain(
            f"{missing:,} of {shards:,} shards could not be done: the tables hold the others."
            " Fix: the same command tries them again"
        )
        raise typer.Exit(exits.USER_ERROR)
    raise typer.Exit(exits.of_failures(summary.merged.run.news))


def _hire(asked: AskedSpread, options: ClassifyOptions) -> Hire:
    """Raises UserError for devices and clusters that are none, MissingExtra without Ray."""
    from lits_deploy.sharding.devices import Devices
    from lits_deploy.sharding.ray_cluster import RayCluster, address_of, per_node
    from lits_deploy.sharding.targets import targets

    if asked.on is not None:
        address, cpu_workers = address_of(asked.on), per_node(asked.devices)
        return lambda start: RayCluster(start, address, cpu_workers)
    found = targets(asked.devices or "all", runtime=options.runtime)
    return lambda start: Devices(start, found)


def print_spread(summary: SpreadSummary) -> None:
    """What is in the output folder and how fast it came."""
    from lits_deploy.cli.console import note
    from lits_deploy.cli.summaries import print_masks, print_summary

    run = summary.merged.run
    if summary.merged.segmented is not None:
        print_masks(summary.merged.segmented)
    before = run.slices - summary.slices
    earlier = f", {before:,} before" if before > 0 else ""
    if summary.workers:
        workers = f"{summary.workers} worker{'s' if summary.workers > 1 else ''}"
        rate = f": {summary.slices / summary.seconds:,.1f} slices/s" if summary.slices else ""
        done = f"{summary.slices:,} slices in {summary.seconds:,.1f} s on {workers}{rate}{earlier}"
    else:
        done = f"No slices to do{earlier}"
    print_summary(run, done=done)
    if run.missing:
        note(f"{run.missing:,} files are to go: the same command goes on from here.")
