"""`lits-deploy plan`: scans listed once and cut into shards, for many devices or machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from lits_deploy import DISCLAIMER
from lits_deploy.cli import locations, logging_options, patients, run_options
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:  # the command's help needs no pipeline
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.sharding.plan import PlanSummary

_SUPERSEDED_SHOWN = 10


@exit_codes("0 done")
@logging_options.reported("plan")
@patients.guarded
@run_options.with_run(
    *("device", "batch_size", "threads", "tune", "engine_cache"),  # of whoever does a shard
    *("formats", "overwrite", "ignore", "ignore_none", "group_readable", "ledger"),  # of the merge
    *("retry_failed", "salt"),
    salt_file=typer.Option(
        None,
        help="File that holds the salt of the hashes, outside JOB (mode 600); created if missing. Shards and the"
        " merge need the same. [default: $LITS_DEPLOY_SALT_FILE, or the text in $LITS_DEPLOY_SALT]",
    ),
    workers=typer.Option(None, min=1, help="Processes that read headers. [default: one per core, up to 8]"),
    allow_removed=typer.Option(
        False, "--allow-removed", help="Plan again even if scans seem to be gone, and supersede their shards."
    ),
)
def plan(
    bundle: str = run_options.BUNDLE,
    scans: list[str] = run_options.SCANS,
    out: str = typer.Option(
        ..., metavar="PATH", help="JOB: folder for the plan, which all workers share; also s3://…."
    ),
    shard_slices: int | None = typer.Option(
        None, min=1, help="Most slices in a shard of several series. [default: 20,000, or as JOB was planned]"
    ),
    as_json: bool = run_options.AS_JSON,
    *,
    options: ClassifyOptions,
) -> None:
    """Split scans into shards of whole series, for `classify --job` or `segment --job` and then `merge`.

    If you plan again with more or changed scans, finished shards stay, and shards with a changed file are done again.
    JOB holds paths, so only its owner can read it.
    """
    from lits_deploy.cli.console import bar, note, print_json, warn
    from lits_deploy.events.wording import Quoting
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.sharding.job_folder import JobFolder
    from lits_deploy.sharding.job_options import make_salt_file, with_salt
    from lits_deploy.sharding.plan import plan_scans
    from lits_deploy.sharding.plan_record import PlanRequest

    roots = locations.scans_at(scans)
    opened = run_options.bundle_and_scans(locations.bundle_at(bundle), roots)
    options, job = with_salt(options), JobFolder(out)
    listing = options.listing(roots, job.location if job.folder is None else job.folder)
    asked = PlanRequest(bundle=opened, listing=listing, roots=roots, options=options, shard_slices=shard_slices)
    made = make_salt_file(options, job)
    with bar("plan", "files") as show, stop_on_signals() as stop:
        summary = plan_scans(asked, job, on_progress=lambda _, files: show(files), stop=stop)
    for warning in summary.warnings:
        warn(warning)
    if as_json:
        print_json({"job": job.location, **summary.to_json(), "salt_file_made": made, "disclaimer": DISCLAIMER})
    else:
        print_plan(summary, job.location)
    if made:
        who = "Whoever does a shard or merges needs it."
        note(Quoting(f"The salt was made: {options.salt_file}. {who}", logged=f"The salt was made. {who}"))


def print_plan(summary: PlanSummary, job: str) -> None:
    """What the plan comes to, and what has changed since the earlier one."""
    from lits_deploy.cli.console import console, print_others

    console.print(
        f"{_of(summary.files, 'file')}, {summary.series:,} series, {_of(summary.slices, 'slice')}"
        f" in {_of(summary.shards, 'shard')}, {summary.done:,} of them done; planned in {summary.seconds:,.1f} s"
    )
    if summary.again:
        added, changed, gone = summary.changes
        console.print(f"Since the earlier plan, {added:,} files are new, {changed:,} changed and {gone:,} gone.")
        numbers = ", ".join(map(str, summary.superseded[:_SUPERSEDED_SHOWN]))
        more = ", …" if len(summary.superseded) > _SUPERSEDED_SHOWN else ""
        old = (
            f"{_of(len(summary.superseded), 'shard')} superseded ({numbers}{more})"
            if numbers
            else "no shard superseded"
        )
        console.print(f"{_of(summary.new, 'shard')} new, {old}; the others stay.")
    if summary.unread:
        console.print(f"{_of(summary.unread, 'header')} cannot be read: each of these files is planned by itself.")
    print_others(summary.others)
    console.print(f"→ {job}")
    console.print(DISCLAIMER)


def _of(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
