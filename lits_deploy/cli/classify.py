"""`lits-deploy classify`: scan folders in, tables out; progress on standard error, a summary on standard output."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import typer

from lits_deploy import exits
from lits_deploy.cli import jobs, locations, logging_options, patients, run_options, spread
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:  # the command's help needs no pipeline
    from lits_deploy.pipeline.options import ClassifyOptions, RunSummary


@exit_codes("0 done", "1 some files failed")
@logging_options.reported("classify")
@patients.guarded
@run_options.with_run()
def classify(
    bundle: str = run_options.BUNDLE,
    scans: list[str] | None = run_options.SCANS_OR_JOB,
    out: str | None = run_options.OUT,
    job: str | None = jobs.JOB,
    shard: str | None = jobs.SHARD,
    devices: str | None = spread.DEVICES,
    on: str | None = spread.ON,
    shard_slices: int | None = spread.SHARD_SLICES,
    *,
    options: ClassifyOptions,
    report: bool = typer.Option(
        True,
        help="Write report.html, with pictures of suspicious slices; --no-report does not update an earlier one.",
    ),
    segmenter: str | None = run_options.SEGMENTER,
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Classify folders of CT slices with a bundle.

    A file that cannot be used is a row with its reason. If it is interrupted or killed, the same command continues
    where it stopped.
    """
    from lits_deploy.api.folders import classify_folder
    from lits_deploy.cli.console import print_json, progress_bar, warn
    from lits_deploy.cli.summaries import print_summary, run_document
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.report.finish import check_drawn

    check_drawn(report, segmenter)
    local = locations.bundle_at(bundle)
    unet = None if segmenter is None else locations.bundle_at(segmenter)
    over = spread.asked_for(devices, on, shard_slices, options, job)
    if (asked := jobs.asked_for(job, shard, scans, out)) is not None:
        jobs.do_shard(local, asked, task="classify", options=options, pictures=report, segmenter=unet, as_json=as_json)
    roots = locations.scans_at(scans)
    with locations.results_at(out, options) as (folder, options):
        opened = run_options.bundle_and_scans(local, roots)
        if over is not None:
            from lits_deploy.sharding.spread import Spread

            what = Spread(bundle=opened, scans=roots, out=folder, options=options, report=report, segmenter=unet)
            spread.do_spread(over, what, named=out, as_json=as_json)
        with progress_bar() as bar, stop_on_signals() as stop:
            show = run_options.progress_shown(bar, "classify", stop)
            summary: RunSummary = inspect.unwrap(classify_folder)(  # its errors name options
                opened, roots, folder, options=options, report=report, segmenter=unet, on_progress=show, stop=stop
            )
        for warning in summary.warnings:
            warn(warning)
        if as_json:
            print_json(run_document(out, summary))
        else:
            print_summary(summary)
        raise typer.Exit(stop.exit_code if stop.requested else exits.of_failures(summary.news))
