"""`lits-deploy benchmark`: parse, call `benchmarks.run.benchmark`, print the tables, write the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from lits_deploy.cli import engines
from lits_deploy.errors import MissingExtra, UserError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def benchmark(
    bundle: Path = typer.Argument(..., help="Folder that `lits-deploy export` made."),
    against: Path | None = typer.Option(None, metavar="RUN", help="Training run to compare with, in PyTorch."),
    data: Path | None = typer.Option(
        None, help="Data set whose test split is used. [default: the run's, if it is there; else phantoms]"
    ),
    batch: str = typer.Option("1,8,32", help="Batch sizes, with commas."),
    threads: int = typer.Option(0, min=0, help="Threads of every candidate; 0: every core this process may use."),
    quick: bool = typer.Option(False, "--quick", help="About two seconds a row and at most 96 slices."),
    out: Path | None = typer.Option(None, help="Folder of the results. [default: benchmark-BUNDLE]"),
    engine_cache: Path | None = engines.CACHE,
) -> None:
    """Measure latency, throughput, memory and accuracy of a bundle on this machine.

    Candidates take turns, inputs are distinct, no outlier is dropped, and there is no percentile from too few calls.
    """
    batches = _batches(batch)
    from benchmarks.report import check_out, machine_line, notes, tables, write_report
    from benchmarks.run import benchmark as run_benchmark
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import console, errors, table

    opened = Bundle.open(bundle)
    target = out or Path(f"benchmark-{bundle.resolve().name}")
    check_out(target)
    document = run_benchmark(
        opened, against=against, data=data, batches=batches, threads=threads, quick=quick,
        engine_cache=engine_cache,
        say=lambda line: errors.print(line, markup=False),
    )  # fmt: skip
    for title, (header, rows) in tables(document):
        table(header, rows, right=[name for name in header if name not in ("runtime", "precision")], title=title)
        console.print()
    for line in notes(document):
        console.print(f"- {line}", markup=False)
    console.print(machine_line(document), markup=False)
    names = write_report(document, target)
    names += _draw(document, target)
    console.print(f"{target}: {', '.join(names)}", markup=False)
    console.print(document["disclaimer"])
    if any(row["error"] for row in [*document["rows"], *document["end_to_end"]]):
        raise typer.Exit(1)


def _batches(text: str) -> tuple[int, ...]:
    try:
        batches = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        batches = ()
    if not batches or min(batches) < 1:
        raise UserError(f"`{text}` are no batch sizes.", fix="--batch 1,8,32")
    return batches


def _draw(document: dict[str, Any], out: Path) -> list[str]:
    from benchmarks.plot import draw
    from benchmarks.report import PLOT
    from lits_deploy.cli.console import console

    try:
        return [PLOT] if draw(document, out / PLOT) else []
    except MissingExtra as error:
        console.print(f"no plot: {error}", markup=False)
        return []
