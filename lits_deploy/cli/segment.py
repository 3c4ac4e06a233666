"""`lits-deploy segment`: scan folders in, masks, volumes and tables out; as `classify` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from lits_deploy import exits
from lits_deploy.cli import jobs, locations, logging_options, patients, run_options, spread
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:  # the command's help needs no pipeline
    from lits_deploy.pipeline.options import ClassifyOptions


@exit_codes("0 done", "1 some files failed")
@logging_options.reported("segment")
@patients.guarded
@run_options.with_run(
    "tune",
    "abstain",
    "operating_point",
    identify=typer.Option(
        False, "--identify", help="Write patients and UIDs in clear text, not as hashes; dicom-seg needs it."
    ),
)
def segment(
    bundle: str = typer.Argument(
        ..., help="Bundle of a U-Net, as `lits-deploy export` makes them: folder or zip, also s3://…."
    ),
    scans: list[str] | None = run_options.SCANS_OR_JOB,
    out: str | None = run_options.OUT,
    job: str | None = jobs.JOB,
    shard: str | None = jobs.SHARD,
    devices: str | None = spread.DEVICES,
    on: str | None = spread.ON,
    shard_slices: int | None = spread.SHARD_SLICES,
    masks: str = run_options.MASKS,
    *,
    options: ClassifyOptions,
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Segment liver and lesions with a U-Net's bundle: masks aligned with their sources, volumes in ml.

    OUT/masks holds one mask per slice (png), NIfTI volume (nifti) or DICOM series (nifti, dicom-seg). masks.csv says
    which mask belongs to which source, and why one is missing. If it is interrupted or killed, the same command
    continues where it stopped.
    """
    from lits_deploy.cli.console import print_json, progress_bar, warn
    from lits_deploy.cli.summaries import print_masks, print_summary, run_document
    from lits_deploy.pipeline.context import RunHooks
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.segmentation.run import segment_folder

    local = locations.bundle_at(bundle)
    over = spread.asked_for(devices, on, shard_slices, options, job)
    if (asked := jobs.asked_for(job, shard, scans, out)) is not None:
        jobs.do_shard(local, asked, task="segment", options=options, as_json=as_json)
    roots, formats = locations.scans_at(scans), run_options.names(masks)
    with locations.results_at(out, options) as (folder, options):
        opened = run_options.bundle_and_scans(local, roots)
        if over is not None:
            from lits_deploy.sharding.spread import Spread

            what = Spread(bundle=opened, scans=roots, out=folder, task="segment", options=options, masks=formats)
            spread.do_spread(over, what, named=out, as_json=as_json)
        with progress_bar() as bar, stop_on_signals() as stop:
            show = run_options.progress_shown(bar, "segment", stop, last="writing masks")
            hooks = RunHooks(stop=stop, on_progress=show)
            summary = segment_folder(opened, roots, folder, masks=formats, options=options, hooks=hooks)
        for warning in summary.run.warnings:
            warn(warning)
        if as_json:
            print_json(run_document(out, summary.run, summary))
        else:
            print_masks(summary)
            print_summary(summary.run)
        raise typer.Exit(stop.exit_code if stop.requested else exits.of_failures(summary.run.news))
