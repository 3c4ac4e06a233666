"""The files of a benchmark: benchmark.json, and CSV, Markdown and page drawn from it; what folders of results share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.page import page
from benchmarks.report import all_rows, machine_line, markdown_table, notes, tables, value_of
from benchmarks.same_slices import KEY
from lits_deploy import spreadsheet
from lits_deploy.errors import DataError, OutputError
from lits_deploy.files import write_json, write_printable, write_text


def check_out(out: Path, marker: str, what: str) -> None:
    """OutputError where `out` is a file, or a folder that holds something else than `what`, known by `marker`."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / marker).is_file()):
        raise OutputError(f"{out} holds something else than {what}.", fix="give another --out")


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """OutputError in place of the system's own error."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror or error}).", fix="give another --out") from error


def csv_of(
    columns: Sequence[str], rows: Iterable[dict[str, Any]], cell: Callable[[Any], Any] = lambda value: value
) -> str:
    """A table's text, head and all; an empty cell is not known. cell: how a value is written."""
    return spreadsheet.csv_text([columns, *([cell(row.get(name)) for name in columns] for row in rows)])


JSON, CSV, MARKDOWN = "benchmark.json", "benchmark.csv", "benchmark.md"
PAGE, PLOT = "benchmark.html", "latency.png"

_OF = ("scenario", "runtime", "version", "device", "artifact", "precision", "batch", "threads", "workers", "calls")
_LATENCY = ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "cv", "window_spread")
_RATE = ("slices_per_second", "steady_slices_per_second", "speedup", "joules_per_1000_slices", "bound_ms", "wall_s")
_COST = ("build_s", "load_s", "first_ms", "size_mb", "peak_mb", "slices", "failed")
CSV_COLUMNS = (*_OF, *_LATENCY, *_RATE, *_COST, "accuracy", "same_class", "valid", "error", "split_by", KEY)


def markdown(document: dict[str, Any]) -> str:
    """benchmark.md."""
    bundle, against = document["bundle"], document["against"]
    lines = [f"# Benchmark of {bundle['name']}", "", f"{bundle['model'].get('name')}, bundle `{bundle['sha256'][:12]}`"]
    if against is not None:
        lines[-1] += f", against the run {against['run']} (`{against['checkpoint_sha256'][:12]}`)"
    lines += ["", machine_line(document)]
    for title, table in tables(document):
        lines += ["", f"## {title.capitalize()}", "", *markdown_table(table)]
    lines += ["", *(f"- {line}" for line in notes(document)), "", document["disclaimer"], ""]
    return "\n".join(lines)


def csv_text(document: dict[str, Any]) -> str:
    """benchmark.csv: one line for each row of both tables; an empty cell is not known."""
    rows = []
    for row in all_rows(document):
        latency = row.get("latency_ms") or {}
        values = {**(row.get("cold") or {}), **row, "calls": latency.get("samples"), "cv": latency.get("cv")}
        values |= {f"{name}_ms": latency.get(name) for name in ("mean", "p50", "p90", "p95", "p99")}
        values["same_class"] = value_of(row, "same_class.share")
        values["window_spread"] = value_of(row, "windows.spread")
        values["joules_per_1000_slices"] = value_of(row, "energy.joules_per_1000_slices")
        rows.append(values | {name: document["data"].get(name) for name in ("split_by", KEY)})
    return csv_of(CSV_COLUMNS, rows)


def write_report(document: dict[str, Any], out: Path) -> list[str]:
    """Write benchmark.json, .csv, .md and .html into `out`; their names."""
    check_out(out, JSON, "a benchmark")
    with writing(out):
        write_json(out / JSON, document)
        write_text(out / CSV, csv_text(document))
        write_printable(out / MARKDOWN, markdown(document))
        write_text(out / PAGE, page([document]))
    return [JSON, CSV, MARKDOWN, PAGE]


def read_benchmark(path: Path) -> dict[str, Any]:
    """A benchmark.json, or the folder that holds one. Raises DataError for anything else."""
    path = path / JSON if path.is_dir() else path
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        fix = f"name a {JSON}, or the folder of `lits-deploy benchmark` that holds it"
        raise DataError(f"{path} cannot be read as a benchmark ({why}).", fix=fix) from error
    found = document.get("schema") if isinstance(document, dict) else None
    if found != 2 or "rows" not in document:
        raise DataError(f"{path} has schema {found!r}; this version reads 2.", fix="run `lits-deploy benchmark` again")
    return document
