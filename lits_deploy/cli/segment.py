"""`lits-deploy segment`: scan folders in, masks, volumes and tables out; as `classify` does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:  # the command's help needs no pipeline
    from lits_deploy.segmentation.run import SegmentSummary

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_REASONS_SHOWN = 5


@app.command()
def segment(
    bundle: Path = typer.Argument(..., help="Bundle of a U-Net, as `lits-deploy export` makes them."),
    scans: list[Path] = typer.Argument(..., help="Folders, files and zips: DICOM, NIfTI, PNG and JPEG."),
    out: Path = typer.Option(Path("results"), help="Folder for masks, tables, run.json and ledger."),
    masks: str = typer.Option("png", "--format", help="Masks to write: png, nifti, dicom-seg, joined by commas."),
    tables: str = typer.Option("csv", "--tables", help="Tables to write: csv, parquet, jsonl, joined by commas."),
    runtime: str = typer.Option(
        "auto", help="auto, onnxruntime, openvino or tensorrt; auto: openvino on a CPU that has it."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda or cuda:N. A device that is not there is an error."),
    precision: str | None = typer.Option(
        None, help="fp32, fp16 or int8: the bundle's file of that precision for the runtime in use. [default: fp32]"
    ),
    artifact: str | None = typer.Option(None, help="In place of --precision: a model file of the bundle by its name."),
    batch_size: int | None = typer.Option(None, min=1, help="Slices in a batch [8 on a CPU, 32 on a GPU]."),
    workers: int | None = typer.Option(None, min=1, help="Decode processes [cores less one, 1 to 4]."),
    threads: int = typer.Option(0, min=0, help="CPU threads of the network; 0: every core."),
    recursive: bool = typer.Option(True, help="Look into folders below."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Drop the results of another run from OUT."),
    retry_failed: bool = typer.Option(False, "--retry-failed", help="Try failed files again that have not changed."),
    identify: bool = typer.Option(
        False, "--identify", help="Write patients and UIDs in clear, not as hashes; dicom-seg needs it."
    ),
    pseudonymous: bool = typer.Option(False, "--pseudonymous", help="Write hashes of file paths, not the paths."),
    salt: str | None = typer.Option(None, help="Of the hashes, so that runs compare. [default: random, kept in OUT]"),
    time_limit: float = typer.Option(30.0, help="Seconds that decoding one file may take."),
    memory_limit: int = typer.Option(1024, help="MiB that decoding one file may take."),
    ledger: Path | None = typer.Option(None, help="Local folder for the ledger, where OUT is on a network share."),
) -> None:
    """Segment liver and lesions with a U-Net's bundle: masks that lie on their sources, volumes in ml.

    OUT/masks holds a mask of every slice (png), volume (nifti) or DICOM series (nifti, dicom-seg); masks.csv says which
    belongs to which, and why there is none. Interrupted or killed, the same command goes on where it was.
    Exit codes: 0 done, 1 some files failed, 2 an error to mend, 130 stopped.
    """
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.classify import print_summary
    from lits_deploy.cli.console import errors, progress_bar
    from lits_deploy.pipeline.options import ClassifyOptions, Progress
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.segmentation.run import segment_folder

    options = ClassifyOptions(
        runtime=runtime,
        device=device,
        artifact=artifact,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        threads=threads,
        recursive=recursive,
        formats=_names(tables),
        overwrite=overwrite,
        retry_failed=retry_failed,
        identify=identify,
        pseudonymous=pseudonymous,
        salt=salt,
        time_limit_s=time_limit,
        memory_limit_mib=memory_limit,
        ledger=ledger,
    )
    opened = Bundle.open(bundle)
    with progress_bar() as bar, stop_on_signals() as stop:
        task = bar.add_task("segment", total=None, rate=0.0, note="loading")
        shown = False

        def show(progress: Progress) -> None:
            nonlocal shown
            if not shown:  # so that the time left does not count what an earlier start of the run had done
                bar.reset(task, total=progress.files, completed=progress.done)
                shown = True
            note = f"{progress.failed} failed" if progress.failed else ""
            note = "stopping after this batch" if stop.requested else progress.note or note
            note = "writing masks" if progress.done == progress.files and not stop.requested else note
            rate = progress.slices / progress.seconds if progress.seconds else 0.0
            bar.update(task, completed=progress.done, rate=rate, note=note)

        summary = segment_folder(opened, scans, out, masks=_names(masks), options=options, on_progress=show, stop=stop)
    for warning in summary.run.warnings:
        errors.print(f"warning: {warning}", markup=False)
    print_masks(summary)
    print_summary(summary.run)
    stopped = summary.run.stopped or not summary.written
    raise typer.Exit(130 if stopped else 1 if summary.run.failed else 0)


def print_masks(summary: SegmentSummary) -> None:
    """How many masks there are, and why slices that were segmented have none."""
    from lits_deploy.cli.console import console, table

    if not summary.written:
        console.print("Stopped before the masks were written: the same command goes on from here.", markup=False)
    rows = [(name, f"{files:,}", f"{summary.slices.get(name, 0):,}") for name, files in summary.masks.items()]
    if summary.written:
        table(("masks", "files", "slices"), rows, right=("files", "slices"))
        console.print("")
    if summary.without:
        reasons = list(summary.without.items())[:_REASONS_SHOWN]
        table(("segmented, but without a mask", "slices"), [(why, f"{n:,}") for why, n in reasons], right=("slices",))
        console.print("")


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
