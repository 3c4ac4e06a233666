"""`lits-deploy segment`: scan folders in, masks, volumes and tables out; as `classify` does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import exits
from lits_deploy.cli import patients, run_options

if TYPE_CHECKING:  # the command's help needs no pipeline
    from lits_deploy.segmentation.run import SegmentSummary

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_REASONS_SHOWN = 5


@app.command(epilog=exits.in_help("0 done", "1 some files failed"))
@patients.guarded
def segment(
    bundle: Path = typer.Argument(..., help="Bundle of a U-Net, as `lits-deploy export` makes them."),
    scans: list[Path] = run_options.SCANS,
    out: Path = typer.Option(Path("results"), help="Folder for masks, tables, run.json and ledger."),
    masks: str = typer.Option("png", "--format", help="Masks to write: png, nifti, dicom-seg, joined by commas."),
    formats: str = typer.Option("csv", "--tables", help=run_options.TABLES_HELP),
    runtime: str = run_options.RUNTIME,
    device: str = run_options.DEVICE,
    precision: str | None = run_options.PRECISION,
    artifact: str | None = run_options.ARTIFACT,
    batch_size: int | None = run_options.BATCH_SIZE,
    workers: int | None = run_options.WORKERS,
    threads: int = run_options.THREADS,
    recursive: bool = run_options.RECURSIVE,
    follow_links: bool = run_options.FOLLOW_LINKS,
    ignore: list[str] | None = run_options.IGNORE,
    ignore_none: bool = run_options.IGNORE_NONE,
    allow_removed: bool = run_options.ALLOW_REMOVED,
    overwrite: bool = run_options.OVERWRITE,
    retry_failed: bool = run_options.RETRY_FAILED,
    identify: bool = typer.Option(
        False, "--identify", help="Write patients and UIDs in clear, not as hashes; dicom-seg needs it."
    ),
    pseudonymous: bool = run_options.PSEUDONYMOUS,
    salt: str | None = run_options.SALT,
    any_body_part: bool = run_options.ANY_BODY_PART,
    trust: str | None = run_options.TRUST,
    salt_file: Path | None = run_options.SALT_FILE,
    group_readable: bool | None = run_options.GROUP_READABLE,
    time_limit_s: float = run_options.TIME_LIMIT,
    memory_limit_mib: int = run_options.MEMORY_LIMIT,
    ledger: Path | None = run_options.LEDGER,
    engine_cache: Path | None = run_options.ENGINE_CACHE,
) -> None:
    """Segment liver and lesions with a U-Net's bundle: masks that lie on their sources, volumes in ml.

    OUT/masks holds a mask of every slice (png), volume (nifti) or DICOM series (nifti, dicom-seg); masks.csv says which
    belongs to which, and why there is none. Interrupted or killed, the same command goes on where it was.
    """
    options = run_options.of_command(locals())  # first: nothing but the parameters
    from lits_deploy.cli.classify import print_summary
    from lits_deploy.cli.console import errors, progress_bar
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.segmentation.run import segment_folder

    opened = run_options.bundle_and_scans(bundle, scans)
    with progress_bar() as bar, stop_on_signals() as stop:
        show = run_options.progress_shown(bar, "segment", stop, last="writing masks")
        summary = segment_folder(
            opened, scans, out, masks=run_options.names(masks), options=options, on_progress=show, stop=stop
        )
    for warning in summary.run.warnings:
        errors.print(f"warning: {warning}")
    print_masks(summary)
    print_summary(summary.run)
    raise typer.Exit(stop.exit_code if stop.requested else exits.of_failures(summary.run.news))


def print_masks(summary: SegmentSummary) -> None:
    """How many masks there are, and why slices that were segmented have none."""
    from lits_deploy.cli.console import console, table

    if not summary.written:
        console.print("Stopped before the masks were written: the same command goes on from here.")
    rows = [(name, f"{files:,}", f"{summary.slices.get(name, 0):,}") for name, files in summary.masks.items()]
    if summary.written:
        table(("masks", "files", "slices"), rows, right=("files", "slices"))
        console.print("")
    if summary.without:
        reasons = list(summary.without.items())[:_REASONS_SHOWN]
        table(("segmented, but without a mask", "slices"), [(why, f"{n:,}") for why, n in reasons], right=("slices",))
        console.print("")
