"""`lits-deploy choose`: measure bundles on this box and recommend one, with the reason."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import typer

from lits_deploy import exits
from lits_deploy.cli import run_options

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=exits.in_help("0 one is recommended", "1 nothing can be recommended"))
def choose(
    bundles: list[Path] = typer.Argument(..., help="Bundles of classifiers."),
    latency_ms: float | None = typer.Option(None, help="Most ms that 90 % of the calls may take, batch and all."),
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
    batch: str = typer.Option("1,4,8,16,32", help="Batch sizes to try, with commas."),
    threads: int = typer.Option(0, min=0, help="Threads of every candidate; 0: every core."),
    quick: bool = typer.Option(False, "--quick", help="About 1.5 seconds a row and at most 96 slices."),
    out: Path | None = typer.Option(None, help="Write everything measured to this JSON file."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Say which network, precision, runtime and batch size to use on this machine, and why the others lost.

    The fastest within all limits is recommended; of those within 5 % of it the one of higher balanced accuracy, then
    the smaller. Never one whose accuracy is not above the share of the commonest class in the scored slices, or whose
    sensitivity and specificity for lesions add up to no more than 1: a constant answer reaches both. Figures that are
    not known (no --data) meet no limit.
    """
    from benchmarks.choose import choose as measure
    from benchmarks.plan import batch_sizes
    from benchmarks.recommendation import Limits
    from lits_deploy.cli.console import errors, print_json
    from lits_deploy.files import write_json
    from lits_deploy.packed import open_bundle

    limits = Limits(
        latency_ms=latency_ms, min_sensitivity=min_sensitivity, min_specificity=min_specificity,
        min_accuracy=min_accuracy, max_mb=max_mb, max_memory_mb=max_memory_mb, min_rate=min_rate,
    )  # fmt: skip
    document = measure(
        [open_bundle(bundle) for bundle in bundles], limits, data=data, batches=batch_sizes(batch), threads=threads,
        quick=quick, say=errors.print,
    )  # fmt: skip
    if out is not None:
        write_json(out, document)
    if as_json:
        print_json(document)
    else:
        show(document, {bundle.resolve().name: bundle for bundle in bundles})
    raise typer.Exit(exits.SOME_FAILED if document["chosen"] is None else exits.DONE)


def show(document: dict[str, Any], folders: dict[str, Path]) -> None:
    """The table, the reason and the next command."""
    from benchmarks.report import machine_line
    from lits_deploy.cli.console import console, table

    def number(value: float | None, digits: int, mark: str = "") -> str:
        return "–" if value is None else f"{value:,.{digits}f}{mark}"

    def marked(row: dict[str, Any], name: str) -> str:
        return number(row[name], 3, " synthetic" if row.get("synthetic") else "")

    header = (
        "network",
        "bundle",
        "artifact",
        "runtime",
        "batch",
        "slices/s",
        "p90 ms",
        "MB",
        "sensitivity",
        "specificity",
        "balanced",
        "accuracy",
    )
    rows = [
        (
            str(row["network"]), row["bundle"], row["artifact"],
            row["runtime"] + ("" if row["device"] == "cpu" else f" {row['device']}"), str(row["batch"]),
            number(row["slices_per_second"], 1), number((row["latency_ms"] or {}).get("p90"), 1),
            number(row["size_mb"], 1), marked(row, "sensitivity"), marked(row, "specificity"),
            marked(row, "balanced_accuracy"), marked(row, "accuracy"), row["verdict"],
        )
        for row in document["rows"]
    ]  # fmt: skip
    table((*header, "verdict"), rows, right=header[4:])
    console.print()
    console.print(document["reason"])
    for name, line in document["data"].items():
        console.print(f"- {name}: {line}")
    for note in document["notes"]:
        console.print(f"- {note}")
    console.print(machine_line(document))
    if document["chosen"] is not None:
        options = document["rows"][document["chosen"]]["options"]
        bundle = folders.get(document["rows"][document["chosen"]]["bundle"], Path("BUNDLE"))
        console.print(
            f"next:  lits-deploy classify {shlex.quote(str(bundle))} SCANS --artifact {options['artifact']} "
            f"--runtime {options['runtime']} --device {options['device']} --batch-size {options['batch']}",
        )
    console.print(document["disclaimer"])
