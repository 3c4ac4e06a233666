"""`lits-deploy evaluate`: parse, call `benchmarks.evaluation.run.evaluate`, print the figures, write the files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lits_deploy import exits
from lits_deploy.cli import logging_options, patients, run_options
from lits_deploy.cli.extras import needs
from lits_deploy.cli.lazy import exit_codes
from lits_deploy.errors import UserError

if TYPE_CHECKING:  # the command's help needs no numpy
    from benchmarks.evaluation.run import Evaluation
    from lits_deploy.pipeline.options import ClassifyOptions


@exit_codes("0 done", "1 some files failed")
@logging_options.reported("evaluate")
@patients.guarded
def evaluate(
    subject: Path = typer.Argument(..., metavar="RUN|BUNDLE", help="Folder that `train` or `export` made."),
    data: Path | None = typer.Option(
        None, help="Data set in the training layout, with masks or targets.csv. A folded run brings its own answers."
    ),
    split: str = typer.Option("test", help="Split to measure on: train, validate or test."),
    out: Path | None = typer.Option(None, help="Folder of the results. [default: evaluation-NAME]"),
    runtime: str = typer.Option(
        "auto", help="Of a bundle: auto, onnxruntime, openvino or tensorrt. A run takes PyTorch."
    ),
    device: str = run_options.RunOptions.device,
    artifact: str | None = typer.Option(
        None, help="Model file of the bundle by its name, as `bundle inspect` lists them. [default: its first]"
    ),
    batch_size: int | None = run_options.RunOptions.batch_size,
    threads: int = run_options.RunOptions.threads,
    engine_cache: Path | None = run_options.RunOptions.engine_cache,
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Measure a run or a bundle on labelled slices: figures with intervals over patients, plots, one page.

    A file that cannot be used is a row with its reason. A run of `train --folds` is measured out of fold: each patient
    by the network that was trained without that patient.
    """
    given = locals()  # nothing but the parameters
    from benchmarks.evaluation.report import JSON, write_report
    from benchmarks.report_files import check_out
    from lits_deploy.cli.console import console, print_json
    from lits_deploy.pipeline.options import ClassifyOptions
    from train.runs_folder import is_folded

    options = run_options.filled(ClassifyOptions, given)
    target = out or Path(f"evaluation-{subject.resolve().name}")
    check_out(target, JSON, "an evaluation")
    if is_folded(subject):
        if data is not None or split != "test" or options != ClassifyOptions():
            raise UserError(
                f"{subject} is a folded run, of which its own answers are measured.",
                fix="give --out alone; or evaluate its bundle, or one of its folds, on --data",
            )
        evaluation = _out_of_fold(subject)
    elif data is None:
        raise UserError("There is no data to measure on.", fix="--data DATA")
    else:
        evaluation = _measured(subject, data, split, options)
    names, no_plots = write_report(evaluation, target)
    if as_json:
        print_json(evaluation.document)
    else:
        _print(evaluation.document)
        if no_plots is not None:
            console.print(no_plots)
        console.print(f"{target}: {', '.join(names)}")
        console.print(evaluation.document["disclaimer"])
    raise typer.Exit(exits.of_failures(evaluation.failed))


def _out_of_fold(run: Path) -> Evaluation:
    with needs("train", "evaluating a training run"):
        from benchmarks.evaluation.folded import evaluate_folds
    return evaluate_folds(run)


def _measured(subject: Path, data: Path, split: str, options: ClassifyOptions) -> Evaluation:
    from benchmarks.evaluation.run import evaluate as measure
    from benchmarks.evaluation.subject import open_subject
    from lits_deploy.cli.console import bar

    opened = open_subject(subject, options)
    with bar("evaluate") as show:
        return measure(opened, data, split=split, on_progress=show)


def _print(document: dict[str, Any]) -> None:
    from benchmarks.evaluation.formatting import (
        by_fold,
        confusion,
        data_line,
        overview,
        per_patient,
        promises,
        subject_line,
    )
    from lits_deploy.cli.console import console, table

    for line in (subject_line(document), data_line(document)):
        console.print(line)
    for mark in document["marks"]:
        console.print(f"!! {mark}", style="bold red")
    console.print()
    tables = [overview(document), *([confusion(document)] if document["task"] == "classify" else [])]
    folds = [by_fold(document)] if "folds" in document else []
    if document["figures"].get("promises"):
        folds.append(promises(document))
    for header, rows in [*tables, *folds, per_patient(document)]:
        table(header, rows, right=header[1:])
        console.print()
    console.print(document["intervals"]["line"])
    if failed := document["data"]["failed"]:
        first = document["failed"][0]
        console.print(f"{failed:,} files could not be used, such as {first['path']}: {first['reason']}")
