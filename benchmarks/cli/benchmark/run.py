"""`lits-deploy benchmark BUNDLE`: parse, call `benchmarks.run.benchmark`, print the tables, write the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from lits_deploy import exits
from lits_deploy.cli import run_options
from lits_deploy.errors import MissingExtra, UserError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=exits.in_help("0 done", "1 a row could not be measured or is not steady"))
def run(
    bundle: Path = typer.Argument(..., help="Folder that `lits-deploy export` made."),
    against: Path | None = typer.Option(None, metavar="RUN", help="Training run to compare with, in PyTorch."),
    data: Path | None = typer.Option(
        None, help="Data set whose test split is used. [default: the run's, if it is there; else phantoms]"
    ),
    batch: str = typer.Option("1,8,32", help="Batch sizes, with commas."),
    threads: int = typer.Option(0, min=0, help="Threads of every candidate; 0: every core this process may use."),
    scenario: str | None = typer.Option(
        None, help="single-stream, batch, offline, server, folder, with commas. [default: all; with --quick no server]"
    ),
    server_p99: float = typer.Option(100.0, help="Bound in ms that 99 % of the slices must keep in `server`."),
    quick: bool = typer.Option(False, "--quick", help="About two seconds a row and at most 96 slices."),
    strict: bool = typer.Option(
        False,
        "--strict",
        help="A minute and calls enough for p90 (batch 1: p99) a row; thirds within 10 %, else exit 1.",
    ),
    out: Path | None = typer.Option(None, help="Folder of the results. [default: benchmark-BUNDLE]"),
    engine_cache: Path | None = run_options.ENGINE_CACHE,
) -> None:
    """Measure latency, throughput, memory and accuracy of a bundle on this machine.

    Candidates take turns, inputs are distinct, no outlier is dropped, and there is no percentile from too few calls.
    """
    if quick and strict:
        raise UserError("--quick and --strict exclude each other.", fix="give one of them")
    from benchmarks.plan import SCENARIOS, Plan, batch_sizes
    from benchmarks.report import all_rows, machine_line, notes, tables
    from benchmarks.report_files import check_out, write_report
    from benchmarks.run import benchmark
    from lits_deploy.cli.console import console, errors, table
    from lits_deploy.packed import open_bundle

    usual = [name for name in SCENARIOS if name != "server" or not quick]
    chosen = usual if scenario is None else [name.strip() for name in scenario.split(",")]
    plan = Plan(
        batches=batch_sizes(batch), threads=threads, mode="strict" if strict else "quick" if quick else "full",
        scenarios=tuple(chosen), bound_ms=server_p99, engine_cache=engine_cache,
    )  # fmt: skip
    opened = open_bundle(bundle)
    target = out or Path(f"benchmark-{bundle.resolve().name}")
    check_out(target)
    document = benchmark(opened, plan, against=against, data=data, say=errors.print)
    for title, (header, rows) in tables(document):
        table(header, rows, right=[name for name in header if name not in ("runtime", "precision")], title=title)
        console.print()
    for line in notes(document):
        console.print(f"- {line}")
    console.print(machine_line(document))
    names = write_report(document, target)
    names += _draw(document, target)
    console.print(f"{target}: {', '.join(names)}")
    console.print(document["disclaimer"])
    if any(row["error"] or row.get("valid") is False for row in all_rows(document)):
        raise typer.Exit(exits.SOME_FAILED)


def _draw(document: dict[str, Any], out: Path) -> list[str]:
    from benchmarks.plot import draw
    from benchmarks.report_files import PLOT
    from lits_deploy.cli.console import console

    try:
        return [PLOT] if draw(document, out / PLOT) else []
    except MissingExtra as error:
        console.print(f"no plot: {error}")
        return []
