"""A benchmark as tables and notes, for terminal, Markdown and page. Draws from the document alone."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.same_slices import named
from lits_deploy.synthetic import MARK

DASH = "–"
"""Not known, or not from so few samples."""

TIMED = ("single-stream", "batch")
"""Scenarios whose rows are of one batch size."""

Row = dict[str, Any]
Table = tuple[list[str], list[list[str]]]


def name_of(row: Row) -> str:
    """Runtime with version, artifact where it is not the original, device where it is not the CPU."""
    version = row["version"].partition("+")[0]
    return f"{row['runtime']} {version}" + ("" if row["device"] == "cpu" else f", {row['device']}")


def precision_of(row: Row) -> str:
    """The precision, with the artifact's name where it says more."""
    plain = row["original"] or row["artifact"] == row["precision"]
    return str(row["precision"]) if plain else f"{row['precision']} ({row['artifact']})"


def title_of(row: Row) -> str:
    """A row in words."""
    where = f"batch {row['batch']}" if row["scenario"] in TIMED else row["scenario"]
    return f"{name_of(row)} {precision_of(row)}, {where}"


def model_table(document: dict[str, Any]) -> Table:
    """Model only: latency of a batch, throughput, size, memory, accuracy. A speed-up has its accuracy beside it."""
    compared = document["against"] is not None
    header = ["runtime", "precision", "batch", "calls", "p50 ms", "p90 ms", "p99 ms", "slices/s"]
    header += ["× PyTorch"] if compared else []
    energy = any(row.get("energy") for row in document["rows"])
    header += ["CV %", "thirds ±%", *(["J / 1,000"] if energy else [])]
    header += ["size MB", "peak MB", accuracy_name(document), "same class"]
    rows = []
    for row in document["rows"]:
        latency, cold = row["latency_ms"] or {}, row["cold"] or {}
        if row["error"] is not None:
            cells = ["error", *[""] * (6 + compared + energy)]
        else:
            cells = [
                str(latency["samples"]),
                *(number(latency.get(p), 1) for p in ("p50", "p90", "p99")),
                number(row["slices_per_second"], 1),
            ]
            cells += [number(row["speedup"], 2)] if compared else []
            cells += [_percent(latency.get("cv")), _percent((row.get("windows") or {}).get("spread"))]
            cells += [_joules(row)] if energy else []
        cells = [name_of(row), precision_of(row), str(row["batch"]), *cells]
        cells += [number(row["size_mb"], 1), number(cold.get("peak_mb"), 0), _accuracy(row), _same(row)]
        rows.append(cells)
    return header, rows


def start_table(document: dict[str, Any]) -> Table:
    """Cold start in a fresh process, apart from the steady state: loading, first inference, peak memory."""
    header = ["runtime", "precision", "batch", "build s", "load s", "first call ms", "whole process s", "peak MB"]
    rows = []
    for row in document["rows"]:
        cold = row["cold"] or {}
        cells = [number(cold.get("build_s"), 1)]
        cells += [number(cold.get("load_s"), 2), number(cold.get("first_ms"), 1), number(cold.get("process_s"), 2)]
        rows.append([name_of(row), precision_of(row), str(row["batch"]), *cells, number(cold.get("peak_mb"), 0)])
    return header, rows


def folder_table(document: dict[str, Any]) -> Table:
    """End to end: files to slices.csv, start-up and all."""
    header = ["runtime", "precision", "batch", "workers", "files", "failed", "wall s", "slices/s", "steady slices/s"]
    header += ["peak MB", accuracy_name(document), "same class"]
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


def offline_table(document: dict[str, Any]) -> Table:
    """All slices at hand: the rate alone counts."""
    header = ["runtime", "precision", "batch", "slices", "seconds", "slices/s", "thirds ±%", "J / 1,000"]
    header += [accuracy_name(document)]
    rows = []
    for row in document.get("offline", ()):
        cells = ["error", *[""] * 5]
        if row["error"] is None:
            cells = [
                str(row["batch"]), f"{row['slices']:,}", number(row["timed_s"], 1),
                number(row["slices_per_second"], 1), _percent((row["windows"] or {}).get("spread")), _joules(row),
            ]  # fmt: skip
        rows.append([name_of(row), precision_of(row), *cells, _accuracy(row)])
    return header, rows


def server_table(document: dict[str, Any]) -> Table:
    """Slices that arrive at random: the highest rate at which 99 % are answered in time."""
    header = ["runtime", "precision", "bound ms", "slices/s in time", "of offline", "p50 ms", "p99 ms", "queries"]
    header += ["slices a call", accuracy_name(document)]
    rows = []
    for row in document.get("server", ()):
        cells = ["error", *[""] * 6]
        if row["error"] is None:
            latency, rate = row["latency_ms"] or {}, row["slices_per_second"]
            cells = [
                number(row["bound_ms"], 0), "none" if rate is None else number(rate, 1),
                DASH if rate is None else f"{100 * rate / row['most_rate']:.0f} %",
                number(latency.get("p50"), 1), number(latency.get("p99"), 1),
                number(latency.get("samples"), 0), number(row["mean_batch"], 1),
            ]  # fmt: skip
        rows.append([name_of(row), precision_of(row), *cells, _accuracy(row)])
    return header, rows


def tables(document: dict[str, Any]) -> list[tuple[str, Table]]:
    """Titles and tables that have rows."""
    named = [("single stream and batches", model_table(document)), ("offline", offline_table(document))]
    named += [("server", server_table(document)), ("cold start", start_table(document))]
    named.append(("folder", folder_table(document)))
    return [(title, table) for title, table in named if table[1]]


def notes(document: dict[str, Any]) -> list[str]:
    """What the tables alone would not tell, one line each."""
    same = next((row["same_class"] for row in document["rows"] if row["same_class"]), None)
    lines = [f"{accuracy_name(document)} on {named(document)}."]
    if same is not None:
        whose = "PyTorch's" if same["by"] == "PyTorch" else "the original's, as recorded in the bundle's goldens"
        lines.append(f"same class: as {whose}, on {same['slices']} slices.")
    threads = document["settings"]["threads"]
    lines.append(
        f"single stream and batches: {threads} threads each, candidates in turns; "
        "a call is one batch, from uint8 slices to answers on the host; CV: coefficient of variation of all calls; "
        "thirds: (fastest − slowest) / mean of the rates of the calls' three thirds."
    )
    lines.append(
        "cold start: a fresh process with that network alone; load is importing the library, checking hashes and "
        "building the session; peak MB is its resident memory."
    )
    if document.get("offline"):
        lines.append("offline: pass after pass over all slices, at the batch size that was fastest before.")
    if document.get("server"):
        lines.append(
            "server: slices arrive one by one at random (Poisson); the highest rate found at which 99 % are answered "
            "within the bound, counted from their arrival; what waits goes into the next call together."
        )
    if any(row.get("energy") for row in document["rows"]):
        of = sorted({row["energy"]["of"] for row in document["rows"] if row.get("energy")})
        lines.append(f"J / 1,000: joules per 1,000 slices of {'; '.join(of)}.")
    else:
        lines.append("joules: this machine tells no power that may be read.")
    if document["end_to_end"]:
        lines.append(
            "folder: `classify` from files to table, start of workers and loading of the network included; steady "
            "without the first batch and before; peak MB without the decode workers."
        )
    short = sorted({(f"p{p}", n) for row in document["rows"] for p, n in _needed(row) if p in (50, 90, 99)})
    if short:
        lines.append(
            f"{DASH}: too few calls for that percentile; it takes " + ", ".join(f"{n} for {p}" for p, n in short) + "."
        )
    lines += document["notes"]
    for row in all_rows(document):
        lines += [f"{title_of(row)}: {text}" for text in [*([row["error"]] if row["error"] else []), *row["notes"]]]
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


def number(value: float | None, digits: int = 3) -> str:
    """A figure for a table, or a dash."""
    return DASH if value is None else f"{value:,.{digits}f}"


def all_rows(document: dict[str, Any]) -> list[Row]:
    """Every row of a document, whatever its scenario."""
    return [row for key in ("rows", "offline", "server", "end_to_end") for row in document.get(key, ())]


def _percent(value: float | None) -> str:
    return number(None if value is None else 100 * value, 1)


def _joules(row: Row) -> str:
    return number((row.get("energy") or {}).get("joules_per_1000_slices"), 1)


def _needed(row: Row) -> list[tuple[int, int]]:
    return [(int(name[1:]), n) for name, n in ((row.get("latency_ms") or {}).get("needed") or {}).items()]


def accuracy_name(document: dict[str, Any]) -> str:
    """The one figure that stands beside every speed, with a mark where it flatters."""
    mark = " (SPLIT BY SLICE)" if document["data"].get("split_by") == "slice" else ""
    mark += f" ({MARK})" if document["data"].get("synthetic") else ""
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
