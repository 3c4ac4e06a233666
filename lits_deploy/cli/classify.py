"""`lits-deploy classify`: scan folders in, tables out; progress on standard error, a summary on standard output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import DISCLAIMER

if TYPE_CHECKING:  # the command's help needs no pipeline
    from lits_deploy.pipeline.options import RunSummary

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_REASONS_SHOWN = 5


@app.command()
def classify(
    bundle: Path = typer.Argument(..., help="Bundle to use, as `lits-deploy export` makes them."),
    scans: list[Path] = typer.Argument(..., help="Folders, files and zips: DICOM, NIfTI, PNG and JPEG."),
    out: Path = typer.Option(Path("results"), help="Folder for tables, run.json and ledger."),
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
    tune: bool = typer.Option(
        False, "--tune", help="Measure which batch size and threads are fastest here, and remember it for this bundle."
    ),
    recursive: bool = typer.Option(True, help="Look into folders below."),
    formats: str = typer.Option("csv", "--format", help="Tables to write: csv, parquet, jsonl, joined by commas."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Drop the results of another run from OUT."),
    retry_failed: bool = typer.Option(False, "--retry-failed", help="Try failed files again that have not changed."),
    abstain: bool = typer.Option(True, help="Give no class to a slice that the bundle's threshold calls unsure."),
    identify: bool = typer.Option(False, "--identify", help="Write patients and UIDs in clear, not as hashes."),
    pseudonymous: bool = typer.Option(False, "--pseudonymous", help="Write hashes of file paths, not the paths."),
    salt: str | None = typer.Option(None, help="Of the hashes, so that runs compare. [default: random, kept in OUT]"),
    time_limit: float = typer.Option(30.0, help="Seconds that decoding one file may take."),
    memory_limit: int = typer.Option(1024, help="MiB that decoding one file may take."),
    ledger: Path | None = typer.Option(None, help="Local folder for the ledger, where OUT is on a network share."),
) -> None:
    """Classify folders of CT slices with a bundle.

    A file that cannot be used is a row with its reason. Interrupted or killed, the same command goes on where it was.
    Exit codes: 0 done, 1 some files failed, 2 an error to mend, 130 stopped.
    """
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import errors, progress_bar
    from lits_deploy.pipeline.options import ClassifyOptions, Progress
    from lits_deploy.pipeline.run import run_folder
    from lits_deploy.pipeline.stop import stop_on_signals

    options = ClassifyOptions(
        runtime=runtime,
        device=device,
        artifact=artifact,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        threads=threads,
        tune=tune,
        recursive=recursive,
        formats=tuple(name.strip() for name in formats.split(",") if name.strip()),
        overwrite=overwrite,
        retry_failed=retry_failed,
        abstain=abstain,
        identify=identify,
        pseudonymous=pseudonymous,
        salt=salt,
        time_limit_s=time_limit,
        memory_limit_mib=memory_limit,
        ledger=ledger,
    )
    opened = Bundle.open(bundle)
    with progress_bar() as bar, stop_on_signals() as stop:
        task = bar.add_task("classify", total=None, rate=0.0, note="loading")
        shown = False

        def show(progress: Progress) -> None:
            nonlocal shown
            if not shown:  # so that the time left does not count what an earlier start of the run had done
                bar.reset(task, total=progress.files, completed=progress.done)
                shown = True
            note = f"{progress.failed} failed" if progress.failed else ""
            note = "stopping after this batch" if stop.requested else progress.note or note
            rate = progress.slices / progress.seconds if progress.seconds else 0.0
            bar.update(task, completed=progress.done, rate=rate, note=note)

        summary = run_folder(opened, scans, out, options=options, on_progress=show, stop=stop)
    for warning in summary.warnings:
        errors.print(f"warning: {warning}", markup=False)
    print_summary(summary)
    raise typer.Exit(130 if summary.stopped else 1 if summary.failed else 0)


def print_summary(summary: RunSummary) -> None:
    """Classes, failures, speed, and where the results are."""
    from lits_deploy.cli.console import console, table

    def say(line: str) -> None:
        console.print(line, markup=False)

    rows = [(name, f"{n:,}") for name, n in summary.classes.items()]
    if summary.unsure:
        rows.append(("abstained: unsure", f"{summary.unsure:,}"))
    if summary.withheld:
        rows.append(("abstained: not to be judged", f"{summary.withheld:,}"))
    table(("class", "slices"), rows, right=("slices",))
    if summary.failed:
        say("")
        shown = list(summary.reasons.items())[:_REASONS_SHOWN]
        rows = [(reason, f"{n:,}") for reason, n in shown]
        if rest := summary.failed - sum(n for _, n in shown):
            rows.append(("other reasons", f"{rest:,}"))
        table((f"failed ({summary.failed:,})", "rows"), rows, right=("rows",))
    say("")
    speed = f": {summary.slices_per_s:,.1f} slices/s" if summary.now else ""
    earlier = f", {summary.slices - summary.now:,} before" if summary.resumed else ""
    say(f"{summary.now:,} slices in {summary.seconds:,.1f} s on {summary.device}{speed}{earlier}")
    if summary.others:
        kinds = ", ".join(f"{suffix or 'no suffix'} {n:,}" for suffix, n in list(summary.others.items())[:4])
        say(f"{sum(summary.others.values()):,} other files not read ({kinds})")
    for path in (*summary.tables, summary.run_json):
        say(f"→ {path}")
    if summary.stopped:
        say(f"Stopped with {summary.missing:,} files to go: the same command goes on from here.")
    say(DISCLAIMER)
