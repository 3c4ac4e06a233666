"""`lits-deploy choose`: measure bundles on this box and recommend one, with the reason."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lits_deploy import exits
from lits_deploy.cli import logging_options, run_options
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:
    from benchmarks.report import Cell


@exit_codes("0 one is recommended", "1 nothing can be recommended")
@logging_options.reported("choose")
def choose(
    bundles: list[Path] = typer.Argument(..., metavar="BUNDLE", help="Bundles of classifiers."),
    latency_ms: float | None = typer.Option(
        None, help="Most ms that 90 % of the calls may take, each for a whole batch."
    ),
    min_sensitivity: float | None = typer.Option(None, help="Least share of lesion slices found, such as 0.6."),
    min_specificity: float | None = typer.Option(
        None, help="Least share of slices without a lesion that are not called one, such as 0.8."
    ),
    min_accuracy: float | None = typer.Option(None, help="Least share of slices with the right class."),
    max_mb: float | None = typer.Option(None, help="Largest model file, in MB."),
    max_memory_mb: float | None = typer.Option(
        None, help="Most resident memory of a process with that network, in MB."
    ),
    min_rate: float | None = typer.Option(None, help="Least slices per second."),
    data: Path | None = typer.Option(None, help="Data set whose test split is scored; needed for the accuracy limits."),
    batch: str = typer.Option("1,4,8,16,32", "--batch-sizes", help="Batch sizes to measure, joined by commas."),
    threads: int = typer.Option(0, min=0, help="Threads of every candidate; 0: every core."),
    quick: bool = typer.Option(False, "--quick", help="About 1.5 seconds per row and at most 96 slices."),
    out: Path | None = typer.Option(None, help="Write everything measured to this JSON file."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Say which network, precision, runtime and batch size to use on this machine, and why the others lost.

    The fastest within all limits is recommended; of those within 5 % of it the one of higher balanced accuracy, then
    the smaller. Never one whose accuracy is not above the share of the commonest class in the scored slices, or whose
    sensitivity and specificity for lesions add up to no more than 1: a constant answer reaches both. Figures that are
    not known (no --data) meet no limit.
    """
    given = locals()  # nothing but the parameters
    from benchmarks.choose import ChoiceLimits
    from benchmarks.choose import choose as measure
    from benchmarks.scenarios import batch_sizes
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import note, print_json
    from lits_deploy.files import write_json

    document = measure(
        [Bundle.open(bundle) for bundle in bundles],
        run_options.filled(ChoiceLimits, given),
        data=data,
        batches=batch_sizes(batch),
        threads=threads,
        quick=quick,
        say=note,
    )
    if out is not None:
        write_json(out, document)
    if as_json:
        print_json(document)
    else:
        show(document, {bundle.resolve().name: bundle for bundle in bundles})
    raise typer.Exit(exits.SOME_FAILED if document["chosen"] is None else exits.DONE)


def show(document: dict[str, Any], folders: dict[str, Path]) -> None:
    """The table, the reason and the next command."""
    from benchmarks.report import machine_line, number, value_of
    from lits_deploy.cli.console import console, table

    def marked(name: str) -> Cell:
        return lambda row: number(row[name]) + (" synthetic" if row.get("synthetic") and row[name] is not None else "")

    columns: dict[str, Cell] = {
        "network": lambda row: str(row["network"]),
        "bundle": lambda row: str(row["bundle"]),
        "artifact": lambda row: str(row["artifact"]),
        "runtime": lambda row: row["runtime"] + ("" if row["device"] == "cpu" else f" {row['device']}"),
        "batch": lambda row: str(row["batch"]),
        "slices/s": lambda row: number(row["slices_per_second"], 1),
        "p90 ms": lambda row: number(value_of(row, "latency_ms.p90"), 1),
        "MB": lambda row: number(row["size_mb"], 1),
        "sensitivity": marked("sensitivity"),
        "specificity": marked("specificity"),
        "balanced": marked("balanced_accuracy"),
        "accuracy": marked("accuracy"),
        "verdict": lambda row: str(row["verdict"]),
    }
    rows = [[cell(row) for cell in columns.values()] for row in document["rows"]]
    table(list(columns), rows, right=list(columns)[4:-1])
    console.print()
    console.print(document["reason"])
    for name, line in document["data"].items():
        console.print(f"- {name}: {line}")
    for note in document["notes"]:
        console.print(f"- {note}")
    console.print(machine_line(document))
    if document["chosen"] is not None:
        best = document["rows"][document["chosen"]]
        options, bundle = best["options"], folders.get(best["bundle"], Path("BUNDLE"))
        console.print(
            f"next:  lits-deploy classify {shlex.quote(str(bundle))} SCANS --artifact {options['artifact']} "
            f"--runtime {options['runtime']} --device {options['device']} --batch-size {options['batch']}",
        )
    console.print(document["disclaimer"])
