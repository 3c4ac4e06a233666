"""`lits-deploy evaluate`: parse, call `benchmarks.evaluation.run.evaluate`, print the figures, write the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from lits_deploy import exits
from lits_deploy.cli import patients, run_options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=exits.in_help("0 done", "1 some files failed"))
@patients.guarded
def evaluate(
    subject: Path = typer.Argument(..., metavar="RUN|BUNDLE", help="Folder that `train` or `export` made."),
    data: Path = typer.Option(..., help="Data set in the training layout, with masks or targets.csv."),
    split: str = typer.Option("test", help="Split to measure on: train, validate or test."),
    out: Path | None = typer.Option(None, help="Folder of the results. [default: evaluation-NAME]"),
    runtime: str = typer.Option(
        "auto", help="Of a bundle: auto, onnxruntime, openvino or tensorrt. A run takes PyTorch."
    ),
    device: str = run_options.DEVICE,
    artifact: str | None = typer.Option(
        None, help="Model file of the bundle by its name, as `bundle inspect` lists them. [default: its first]"
    ),
    batch_size: int | None = run_options.BATCH_SIZE,
    threads: int = run_options.THREADS,
    engine_cache: Path | None = run_options.ENGINE_CACHE,
) -> None:
    """Measure a run or a bundle on labelled slices: figures with intervals over patients, plots, one page.

    A file that cannot be used is a row with its reason.
    """
    from benchmarks.evaluation.report import check_out, write_report
    from benchmarks.evaluation.run import evaluate as measure
    from benchmarks.evaluation.subject import open_subject
    from lits_deploy.cli.console import console, progress_bar

    opened = open_subject(
        subject, runtime=runtime, device=device, artifact=artifact, batch_size=batch_size, threads=threads,
        engine_cache=engine_cache,
    )  # fmt: skip
    target = out or Path(f"evaluation-{opened.name}")
    check_out(target)
    with progress_bar() as bar:
        task = bar.add_task("evaluate", total=None, rate=0.0, note="")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, rate=bar.tasks[0].speed or 0.0)

        evaluation = measure(opened, data, split=split, on_progress=show)
    names, no_plots = write_report(evaluation, target)
    _print(evaluation.document)
    if no_plots is not None:
        console.print(no_plots)
    console.print(f"{target}: {', '.join(names)}")
    console.print(evaluation.document["disclaimer"])
    raise typer.Exit(exits.of_failures(evaluation.failed))


def _print(document: dict[str, Any]) -> None:
    from benchmarks.evaluation.words import confusion, data_line, overview, per_patient, subject_line
    from lits_deploy.cli.console import console, table

    for line in (subject_line(document), data_line(document)):
        console.print(line)
    for mark in document["marks"]:
        console.print(f"!! {mark}", style="bold red")
    console.print()
    tables = [overview(document), *([confusion(document)] if document["task"] == "classify" else [])]
    for header, rows in [*tables, per_patient(document)]:
        table(header, rows, right=header[1:])
        console.print()
    console.print(document["intervals"]["line"])
    if failed := document["data"]["failed"]:
        first = document["failed"][0]
        console.print(f"{failed:,} files could not be used, such as {first['path']}: {first['reason']}")
