"""`lits-deploy benchmark BUNDLE`: parse, call `benchmarks.run.benchmark`, print the tables, write the files."""

from __future__ import annotations

from pathlib import Path

import typer

from lits_deploy import exits
from lits_deploy.cli import logging_options, run_options
from lits_deploy.cli.lazy import exit_codes
from lits_deploy.errors import MissingExtra, UserError


@exit_codes("0 done", "1 a row could not be measured or is not steady")
@logging_options.reported("benchmark")
def run(
    bundle: Path = typer.Argument(..., help="Folder that `lits-deploy export` made."),
    against: Path | None = typer.Option(None, metavar="RUN", help="Training run to compare with, in PyTorch."),
    data: Path | None = typer.Option(
        None, help="Data set whose test split is used. [default: the run's, if it is there; else phantoms]"
    ),
    batch: str = typer.Option("1,8,32", "--batch-sizes", help="Batch sizes to measure, joined by commas."),
    threads: int = typer.Option(0, min=0, help="Threads of every candidate; 0: every core this process may use."),
    scenario: str | None = typer.Option(
        None,
        help="single-stream, batch, offline, server, folder, joined by commas. [default: all; with --quick no server]",
    ),
    server_p99: float = typer.Option(100.0, help="Limit in ms for 99 % of the slices in `server`."),
    quick: bool = typer.Option(False, "--quick", help="About two seconds per row and at most 96 slices."),
    strict: bool = typer.Option(
        False,
        "--strict",
        help="A minute per row and enough calls for p90 (batch 1: p99); exit 1 unless thirds agree within 10 %.",
    ),
    out: Path | None = typer.Option(None, help="Folder of the results. [default: benchmark-BUNDLE]"),
    engine_cache: Path | None = run_options.RunOptions.engine_cache,
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Measure latency, throughput, memory and accuracy of a bundle on this machine.

    Candidates take turns, inputs are distinct, no outlier is dropped, and too few calls give no percentile.
    """
    if quick and strict:
        raise UserError("--quick and --strict exclude each other.", fix="give one of them")
    from benchmarks.plot import draw
    from benchmarks.report import all_rows, machine_line, notes, tables
    from benchmarks.report_files import JSON, PLOT, check_out, write_report
    from benchmarks.run import benchmark
    from benchmarks.scenarios import SCENARIOS, Plan, batch_sizes
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import console, note, print_json, table

    usual = [name for name in SCENARIOS if name != "server" or not quick]
    chosen = usual if scenario is None else [name.strip() for name in scenario.split(",")]
    plan = Plan(
        batches=batch_sizes(batch),
        threads=threads,
        mode="strict" if strict else "quick" if quick else "full",
        scenarios=tuple(chosen),
        bound_ms=server_p99,
        engine_cache=engine_cache,
    )
    opened = Bundle.open(bundle)
    target = out or Path(f"benchmark-{bundle.resolve().name}")
    check_out(target, JSON, "a benchmark")
    document = benchmark(opened, plan, against=against, data=data, say=note)
    names = write_report(document, target)
    no_plot = None
    try:
        names += [PLOT] if draw(document, target / PLOT) else []
    except MissingExtra as error:
        no_plot = f"no plot: {error}"
    if as_json:
        print_json(document)
    else:
        for title, (header, rows) in tables(document):
            table(header, rows, right=[name for name in header if name not in ("runtime", "precision")], title=title)
            console.print()
        for line in notes(document):
            console.print(f"- {line}")
        console.print(machine_line(document))
        for text in filter(None, (no_plot, f"{target}: {', '.join(names)}", document["disclaimer"])):
            console.print(text)
    if any(row["error"] or row.get("valid") is False for row in all_rows(document)):
        raise typer.Exit(exits.SOME_FAILED)
