"""The document of a benchmark as tables: for the terminal, Markdown and CSV. Draws from the document alone."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

from lits_deploy.errors import OutputError
from lits_deploy.files import write_json, write_text

JSON, CSV, MARKDOWN, PLOT = "benchmark.json", "benchmark.csv", "benchmark.md", "latency.png"

DASH = "–"
"""Not known, or not from so few samples."""

Row = dict[str, Any]
Table = tuple[list[str], list[list[str]]]

CSV_COLUMNS = (
    "scenario", "runtime", "version", "device", "artifact", "precision", "batch", "threads", "workers", "calls",
    "mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "cv", "slices_per_second", "steady_slices_per_second",
    "speedup", "wall_s", "load_s", "first_ms", "size_mb", "peak_mb", "slices", "failed", "accuracy", "same_class",
    "error", "split_by",
)  # fmt: skip


def name_of(row: Row) -> str:
    """Runtime with version, artifact where it is not the original, device where it is not the CPU."""
    version = row["version"].partition("+")[0]
    return f"{row['runtime']} {version}" + ("" if row["device"] == "cpu" else f", {row['device']}")


def precision_of(row: Row) -> str:
    """The precision, with the artifact's name where it says more."""
    plain = row["original"] or row["artifact"] == row["precision"]
    return str(row["precision"]) if plain else f"{row['precision']} ({row['artifact']})"


def model_table(document: dict[str, Any]) -> Table:
    """Model only: latency of a batch, throughput, size, memory, accuracy. A speed-up has its accuracy beside it."""
    compared = document["against"] is not None
    header = ["runtime", "precision", "batch", "calls", "p50 ms", "p90 ms", "p99 ms", "slices/s"]
    header += ["× PyTorch"] if compared else []
    header += ["size MB", "peak MB", _accuracy_name(document), "same class"]
    rows = []
    for row in document["rows"]:
        latency, cold = row["latency_ms"] or {}, row["cold"] or {}
        if row["error"] is not None:
            cells = ["error", *[""] * (4 + compared)]
        else:
            cells = [
                str(latency["samples"]),
                *(number(latency.get(p), 1) for p in ("p50", "p90", "p99")),
                number(row["slices_per_second"], 1),
            ]
            cells += [number(row["speedup"], 2)] if compared else []
        cells = [name_of(row), precision_of(row), str(row["batch"]), *cells]
        cells += [number(row["size_mb"], 1), number(cold.get("peak_mb"), 0), _accuracy(row), _same(row)]
        rows.append(cells)
    return header, rows


def start_table(document: dict[str, Any]) -> Table:
    """Cold start in a fresh process, apart from the steady state: loading, first inference, peak memory."""
    header = ["runtime", "precision", "batch", "load s", "first call ms", "whole process s", "peak MB"]
    rows = []
    for row in document["rows"]:
        cold = row["cold"] or {}
        cells = [number(cold.get("load_s"), 2), number(cold.get("first_ms"), 1), number(cold.get("process_s"), 2)]
        rows.append([name_of(row), precision_of(row), str(row["batch"]), *cells, number(cold.get("peak_mb"), 0)])
    return header, rows


def folder_table(document: dict[str, Any]) -> Table:
    """End to end: files to slices.csv, start-up and all."""
    header = ["runtime", "precision", "batch", "workers", "files", "failed", "wall s", "slices/s", "steady slices/s"]
    header += ["peak MB", _accuracy_name(document), "same class"]
    rows = []
    for row in document["end_to_end"]:
        if row["error"] is not None:
            cells = ["error", *[""] * 7]
        else:
            cells = [
                str(row["batch"]), str(row["workers"]), str(row["files"]), str(row["failed"]), number(row["wall_s"], 2),
                number(row["slices_per_second"], 1), number(row["steady_slices_per_second"], 1),
                number(row["peak_mb"], 0),
            ]  # fmt: skip
        rows.append([name_of(row), precision_of(row), *cells, _accuracy(row), _same(row)])
    return header, rows


def tables(document: dict[str, Any]) -> list[tuple[str, Table]]:
    """Titles and tables that have rows."""
    named = [("model only", model_table(document)), ("cold start", start_table(document))]
    named.append(("end to end", folder_table(document)))
    return [(title, table) for title, table in named if table[1]]


def notes(document: dict[str, Any]) -> list[str]:
    """What the tables alone would not tell, one line each."""
    same = next((row["same_class"] for row in document["rows"] if row["same_class"]), None)
    lines = [f"{_accuracy_name(document)} on {document['data']['line']}."]
    if same is not None:
        whose = "PyTorch's" if same["by"] == "PyTorch" else "the original's, as recorded in the bundle's goldens"
        lines.append(f"same class: as {whose}, on {same['slices']} slices.")
    threads = document["settings"]["threads"]
    lines.append(
        f"model only: {threads} threads each, candidates in turns; "
        "a call is one batch, from uint8 slices to answers on the host."
    )
    lines.append(
        "cold start: a fresh process with that network alone; load is importing the library, checking hashes and "
        "building the session; peak MB is its resident memory."
    )
    if document["end_to_end"]:
        lines.append(
            "end to end: `classify` from files to table, start of workers and loading of the network included; steady "
            "without the first batch and before; peak MB without the decode workers."
        )
    short = sorted({(f"p{p}", n) for row in document["rows"] for p, n in _needed(row) if p in (50, 90, 99)})
    if short:
        lines.append(
            f"{DASH}: too few calls for that percentile; it takes " + ", ".join(f"{n} for {p}" for p, n in short) + "."
        )
    lines += document["notes"]
    for row in [*document["rows"], *document["end_to_end"]]:
        where = f"{name_of(row)} {precision_of(row)}, " + (
            f"batch {row['batch']}" if row["scenario"] == "model-only" else "end to end"
        )
        lines += [f"{where}: {text}" for text in [*([row["error"]] if row["error"] else []), *row["notes"]]]
    return lines


def machine_line(document: dict[str, Any]) -> str:
    """The machine in words."""
    machine = document["machine"]
    parts = [machine["board"] or machine["processor"], f"{machine['cores']} cores", *machine["gpus"]]
    if machine["virtual"]:
        parts.append("virtual machine")
    if machine["governor"]:
        parts.append(f"governor {machine['governor']}")
    load = ", ".join(f"{value:.2f}" for value in machine["load_average"])
    return ", ".join(parts) + f"; load average {load} at the start, {machine['date']}"


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
    writer = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", restval="", lineterminator="\n")
    writer.writeheader()
    for row in [*document["rows"], *document["end_to_end"]]:
        latency, cold = row.get("latency_ms") or {}, row.get("cold") or {}
        values = {**cold, **row, "calls": latency.get("samples"), "cv": latency.get("cv")}
        values |= {f"{name}_ms": latency.get(name) for name in ("mean", "p50", "p90", "p95", "p99")}
        values["same_class"] = row["same_class"]["share"] if row["same_class"] else None
        values["split_by"] = document["data"].get("split_by")
        writer.writerow(values)
    return text.getvalue()


def check_out(out: Path) -> None:
    """OutputError where `out` is a file, or a folder that holds something else than a benchmark."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / JSON).is_file()):
        raise OutputError(f"{out} holds something else than a benchmark.", fix="give another --out")


def write_report(document: dict[str, Any], out: Path) -> list[str]:
    """Write benchmark.json, .csv and .md into `out`; their names."""
    check_out(out)
    try:
        write_json(out / JSON, document)
        write_text(out / CSV, csv_text(document))
        write_text(out / MARKDOWN, markdown(document))
    except OSError as error:
        raise OutputError(f"{out} cannot be written ({error.strerror or error}).", fix="give another --out") from error
    return [JSON, CSV, MARKDOWN]


def number(value: float | None, digits: int) -> str:
    """A figure for a table, or a dash."""
    return DASH if value is None else f"{value:,.{digits}f}"


def _needed(row: Row) -> list[tuple[int, int]]:
    return [(int(name[1:]), n) for name, n in ((row.get("latency_ms") or {}).get("needed") or {}).items()]


def _accuracy_name(document: dict[str, Any]) -> str:
    mark = " (SPLIT BY SLICE)" if document["data"].get("split_by") == "slice" else ""
    return ("accuracy" if document["bundle"]["task"] == "classify" else "mean Dice") + mark


def _accuracy(row: Row) -> str:
    return number(row["accuracy"], 3)


def _same(row: Row) -> str:
    """Counted for slices; for pixels a share that is never rounded up to 100 %."""
    same = row["same_class"]
    if same is None:
        return DASH
    if same["unit"] == "slices":
        return f"{round(same['share'] * same['slices'])}/{same['slices']}"
    return f"{math.floor(same['share'] * 1e5) / 1e3:.3f} %"


def markdown_table(table: Table, left: int = 2) -> list[str]:
    """The lines of a Markdown table, padded to be read as text too; the first `left` columns are aligned left."""
    header, rows = table
    widths = [max(3, *(len(cells[i]) for cells in [header, *rows])) for i in range(len(header))]
    rule = [":" + "-" * (width - 1) if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    padded = [
        [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        for cells in [header, rule, *rows]
    ]
    return ["| " + " | ".join(cells) + " |" for cells in padded]
