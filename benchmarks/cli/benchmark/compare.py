"""`lits-deploy benchmark compare BEFORE AFTER`: what became worse, and exit 1 if it is too much."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lits_deploy import exits
from lits_deploy.cli import run_options
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:
    from benchmarks.compare import Change


@exit_codes("0 nothing became worse than it may", "1 something did")
def compare(
    before: Path = typer.Argument(..., help="benchmark.json, or the folder that holds it."),
    after: Path = typer.Argument(..., help="The same, made later."),
    throughput: float = typer.Option(10.0, help="Per cent that slices/s may fall."),
    latency: float = typer.Option(10.0, help="Per cent that p50 and p90 may rise."),
    tail: float = typer.Option(25.0, help="Per cent that p99 may rise."),
    start: float = typer.Option(25.0, help="Per cent that loading and the first call may take longer."),
    memory: float = typer.Option(10.0, help="Per cent that peak memory may grow."),
    size: float = typer.Option(1.0, "--file-size", help="Per cent that a model file may grow."),
    energy: float = typer.Option(15.0, help="Per cent that joules per 1,000 slices may rise."),
    accuracy: float = typer.Option(0.5, help="Points (of 100) that accuracy may fall."),
    across_machines: bool = typer.Option(False, "--across-machines", help="Compare two different machines anyway."),
    across_test_sets: bool = typer.Option(
        False,
        "--across-test-sets",
        help="Compare speed, size and memory of benchmarks that were scored on different slices.",
    ),
    everything: bool = typer.Option(False, "--all", help="Show every figure, not only changes beyond half the limit."),
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Compare two benchmarks.

    A row that was measured before and is missing or failed after is a regression. Accuracies on two
    test sets are not compared; where a benchmark does not record its test set, they are marked.
    """
    given = locals()  # nothing but the parameters
    from benchmarks.compare import ChangeLimits
    from benchmarks.compare import compare as hold
    from benchmarks.report_files import read_benchmark
    from lits_deploy.cli.console import console, print_json, table
    from lits_deploy.errors import UserError

    limits = ChangeLimits(**{field.name: given[field.name] / 100 for field in fields(ChangeLimits)})
    found = hold(read_benchmark(before), read_benchmark(after), limits)
    if not across_machines and (other := [note for note in found.notes if note.startswith("another machine")]):
        raise UserError(f"These are two machines ({other[0]}).", fix="--across-machines, if that is what you want")
    if not across_test_sets and found.test_sets == "different":
        said = next(note for note in found.notes if note.startswith("two test sets"))
        raise UserError(
            f"Their accuracies cannot be compared ({said}).",
            fix="measure both with the same --data, or --across-test-sets to compare everything else",
        )
    if not found.changes and not found.gone:
        raise UserError("The two benchmarks have no row in common.", fix="measure the same bundle and batch sizes")
    end = typer.Exit(exits.DONE if found.passed else exits.SOME_FAILED)
    if as_json:
        changes = [{**asdict(change), "regression": change.regression} for change in found.changes]
        verdict = {name: getattr(found, name) for name in ("passed", "test_sets")}
        print_json({**verdict, "changes": changes, "gone": found.gone, "new": found.new, "notes": found.notes})
        raise end
    shown = [c for c in found.changes if everything or c.regression or abs(c.worse) > c.limit / 2]
    shown.sort(key=lambda change: -change.worse / max(change.limit, 1e-9))
    header = ("row", "figure", "before", "after", "change", "limit", "")
    if shown:
        table(header, [_cells(change) for change in shown], right=header[2:6])
    for line in found.gone:
        console.print(f"REGRESSION: {line}")
    for line in (*(f"new: {name}" for name in found.new), *found.notes):
        console.print(f"- {line}")
    console.print(
        f"{len(found.changes)} figures compared, {len(found.regressions)} worse than they may be, "
        f"{len(found.gone)} rows lost: {'passed' if found.passed else 'FAILED'}",
    )
    raise end


def _cells(change: Change) -> tuple[str, ...]:
    points = change.figure.startswith("accuracy")
    digits, unit = (4, " pt") if points else (2, " %")
    moved = (change.after - change.before) / (1 if points else change.before)
    return (
        change.row,
        change.figure,
        f"{change.before:,.{digits}f}",
        f"{change.after:,.{digits}f}",
        f"{100 * moved:+.1f}{unit}",
        f"{100 * change.limit:g}{unit}",
        "REGRESSION" if change.regression else "",
    )
