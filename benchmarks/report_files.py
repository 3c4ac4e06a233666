"""The files of a benchmark: benchmark.json, and CSV, Markdown and page drawn from it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from benchmarks.page import page
from benchmarks.report import all_rows, machine_line, markdown_table, notes, tables
from benchmarks.same_slices import KEY
from lits_deploy.errors import DataError, OutputError
from lits_deploy.files import write_json, write_text, write_words
from lits_deploy.spreadsheet import CsvWriter

JSON, CSV, MARKDOWN = "benchmark.json", "benchmark.csv", "benchmark.md"
PAGE, PLOT = "benchmark.html", "latency.png"

CSV_COLUMNS = (
    "scenario", "runtime", "version", "device", "artifact", "precision", "batch", "threads", "workers", "calls",
    "mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "cv", "window_spread", "slices_per_second",
    "steady_slices_per_second", "speedup", "joules_per_1000_slices", "bound_ms", "wall_s", "build_s", "load_s",
    "first_ms", "size_mb", "peak_mb", "slices", "failed", "accuracy", "same_class", "valid", "error", "split_by",
    "test_set_sha256",
)  # fmt: skip


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
    text = io.StringIO()
    writer = CsvWriter(text)
    writer.writerow(CSV_COLUMNS)
    for row in all_rows(document):
        latency, cold = row.get("latency_ms") or {}, row.get("cold") or {}
        values = {**cold, **row, "calls": latency.get("samples"), "cv": latency.get("cv")}
        values |= {f"{name}_ms": latency.get(name) for name in ("mean", "p50", "p90", "p95", "p99")}
        values["same_class"] = row["same_class"]["share"] if row["same_class"] else None
        values["window_spread"] = (row.get("windows") or {}).get("spread")
        values["joules_per_1000_slices"] = (row.get("energy") or {}).get("joules_per_1000_slices")
        values["split_by"] = document["data"].get("split_by")
        values[KEY] = document["data"].get(KEY)
        writer.writerow(values.get(name) for name in CSV_COLUMNS)
    return text.getvalue()


def check_out(out: Path) -> None:
    """OutputError where `out` is a file, or a folder that holds something else than a benchmark."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / JSON).is_file()):
        raise OutputError(f"{out} holds something else than a benchmark.", fix="give another --out")


def write_report(document: dict[str, Any], out: Path) -> list[str]:
    """Write benchmark.json, .csv, .md and .html into `out`; their names."""
    check_out(out)
    try:
        write_json(out / JSON, document)
        write_text(out / CSV, csv_text(document))
        write_words(out / MARKDOWN, markdown(document))
        write_text(out / PAGE, page([document]))
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror or error}).", fix="give another --out") from error
    return [JSON, CSV, MARKDOWN, PAGE]


def read_benchmark(path: Path, schemas: tuple[int, ...] = (2,)) -> dict[str, Any]:
    """A benchmark.json, or the folder that holds one. Raises DataError for anything else."""
    path = path / JSON if path.is_dir() else path
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        fix = f"name a {JSON}, or the folder of `lits-deploy benchmark` that holds it"
        raise DataError(f"{path} cannot be read as a benchmark ({why}).", fix=fix) from error
    if not isinstance(document, dict) or document.get("schema") not in schemas or "rows" not in document:
        found = document.get("schema") if isinstance(document, dict) else None
        raise DataError(
            f"{path} has schema {found!r}; this version reads {', '.join(map(str, schemas))}.",
            fix="run `lits-deploy benchmark` again",
        )
    return document
