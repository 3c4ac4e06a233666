"""`--job JOB --shard K` of `classify` and `segment`: one shard of a plan, in place of scans and an output folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import typer

from lits_deploy import exits
from lits_deploy.cli import run_options
from lits_deploy.errors import UserError

if TYPE_CHECKING:
    from lits_deploy.contract import Task
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.sharding.shard import ShardSummary

JOB = typer.Option(None, "--job", metavar="JOB", help="Process a shard of this plan, in place of SCANS and --out.")
SHARD = typer.Option(
    None,
    "--shard",
    metavar="K|auto",
    help="Its number; auto: $SLURM_ARRAY_TASK_ID or $JOB_COMPLETION_INDEX. --ledger names a local folder to work in.",
)


class AskedShard(NamedTuple):
    """A shard, as users name it."""

    job: str
    shard: str


def asked_for(job: str | None, shard: str | None, scans: Sequence[str] | None, out: str | None) -> AskedShard | None:
    """The shard that is to be done; None: scans are. Raises UserError for options that do not go together."""
    if job is None:
        if shard is not None:
            raise UserError("--shard needs a plan.", fix="--job JOB")
        if not scans:
            raise UserError("No scans were named.", fix="name files or folders after BUNDLE, or --job JOB --shard K")
        return None
    if shard is None:
        raise UserError("--job needs the number of a shard.", fix="--shard K, or --shard auto in an array of jobs")
    if scans:
        raise UserError("SCANS and --job name the same thing.", fix="leave SCANS out: the plan has them")
    if out is not None:
        raise UserError("A shard goes into JOB, not into --out.", fix="leave --out out; `lits-deploy merge` has it")
    return AskedShard(job, shard)


def do_shard(
    bundle: Path,
    asked: AskedShard,
    *,
    task: Task,
    options: ClassifyOptions,
    pictures: bool = False,
    segmenter: Path | None = None,
    as_json: bool = False,
) -> NoReturn:
    """Do a shard, and say how it went. Ends with 0 where it is done: a failed file is a row of it, which `merge`
    counts, and an array of jobs is not to try it again."""
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import print_json, progress_bar, warn
    from lits_deploy.pipeline.context import RunHooks
    from lits_deploy.pipeline.network import check_task
    from lits_deploy.pipeline.record import counts_of
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.sharding.job_folder import JobFolder
    from lits_deploy.sharding.job_options import check_fixed
    from lits_deploy.sharding.shard import ShardWork, run_shard, shard_number

    opened = Bundle.open(bundle)
    check_task(opened, task)
    job, number = JobFolder(asked.job), shard_number(asked.shard)
    check_fixed(job.read(), options)
    with progress_bar() as bar, stop_on_signals() as stop:
        work = ShardWork(
            bundle=opened,
            options=options,
            pictures=pictures,
            segmenter=None if segmenter is None else Bundle.open(segmenter),
            scratch_root=options.ledger,
            hooks=RunHooks(stop=stop, on_progress=run_options.progress_shown(bar, f"shard {number}", stop)),
            say=warn,
        )
        summary = run_shard(job, number, work)
    for warning in summary.run.warnings if summary.run else ():
        warn(warning)
    if as_json:
        counts = None if summary.run is None else counts_of(summary.run)
        print_json({"job": asked.job, "shard": number, "state": summary.state, "counts": counts})
    else:
        print_shard(summary)
    raise typer.Exit(stop.exit_code if summary.state == "stopped" else exits.DONE)


def print_shard(summary: ShardSummary) -> None:
    """One line."""
    from lits_deploy.cli.console import console

    run, name = summary.run, f"shard {summary.number}"
    if summary.state == "done":
        console.print(f"{name} was done before: nothing to do")
    elif summary.state == "superseded":
        console.print(f"{name} is superseded: its scans have changed, and other shards hold what is left of them")
    if run is None:
        return
    speed = f" in {run.seconds:,.1f} s on {run.device}, {run.slices_per_s:,.1f} slices/s" if run.now else ""
    failed = f"; {run.failed:,} rows failed" if run.failed else ""
    if summary.state == "stopped":
        console.print(f"{name} stopped with {run.missing:,} files to go: the same command goes on from here.")
    else:
        console.print(f"{name} is done: {run.now:,} slices{speed}{failed}")
