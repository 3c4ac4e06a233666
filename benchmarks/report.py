"""A benchmark as tables and notes, for terminal, Markdown and page. Draws from the document alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.same_slices import named
from lits_deploy.synthetic import MARK

DASH = "–"
"""Not known, or not from so few samples."""

TIMED = ("single-stream", "batch")
"""Scenarios whose rows are of one batch size."""

Row = dict[str, Any]
Cell = Callable[[Row], str]
Columns = dict[str, Cell]
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


def value_of(row: Row, path: str) -> Any:
    """What stands in a row at `latency_ms.p50`, or None where a part of that is missing or None."""
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _number(path: str, digits: int, times: float = 1) -> Cell:
    def cell(row: Row) -> str:
        value = value_of(row, path)
        return number(None if value is None else times * value, digits)

    return cell


def _plain(name: str) -> Cell:
    return lambda row: str(row[name])


def _table(rows: Iterable[Row], measured: Columns, always: Columns, first: Columns | None = None) -> Table:
    """Columns by their names, after what a row is of. A row that failed has no `measured`, and is called an error."""
    first = {"runtime": name_of, "precision": precision_of, **(first or {})}
    failed = ["error", *[""] * (len(measured) - 1)]
    return [*first, *measured, *always], [
        [
            *(cell(row) for cell in first.values()),
            *(failed if measured and row["error"] is not None else [cell(row) for cell in measured.values()]),
            *(cell(row) for cell in always.values()),
        ]
        for row in rows
    ]


_RATE = _number("slices_per_second", 1)
_JOULES = _number("energy.joules_per_1000_slices", 1)
_THIRDS = _number("windows.spread", 1, 100)
_PEAK = _number("cold.peak_mb", 0)
_ACCURACY = _number("accuracy", 3)


def model_table(document: dict[str, Any]) -> Table:
    """Model only: latency of a batch, throughput, size, memory, accuracy. A speed-up has its accuracy beside it."""
    measured = {"calls": lambda row: str(row["latency_ms"]["samples"])}
    measured |= {f"{p} ms": _number(f"latency_ms.{p}", 1) for p in ("p50", "p90", "p99")}
    measured |= {"slices/s": _RATE}
    measured |= {"× PyTorch": _number("speedup", 2)} if document["against"] is not None else {}
    measured |= {"CV %": _number("latency_ms.cv", 1, 100), "thirds ±%": _THIRDS}
    measured |= {"J / 1,000": _JOULES} if any(row.get("energy") for row in document["rows"]) else {}
    always = {"size MB": _number("size_mb", 1), "peak MB": _PEAK}
    always |= {accuracy_name(document): _ACCURACY, "same class": _same}
    return _table(document["rows"], measured, always, {"batch": _plain("batch")})


def start_table(document: dict[str, Any]) -> Table:
    """Cold start in a fresh process, apart from the steady state: loading, first inference, peak memory."""
    always = {
        "batch": _plain("batch"),
        "build s": _number("cold.build_s", 1),
        "load s": _number("cold.load_s", 2),
        "first call ms": _number("cold.first_ms", 1),
        "whole process s": _number("cold.process_s", 2),
        "peak MB": _PEAK,
    }
    return _table(document["rows"], {}, always)


def folder_table(document: dict[str, Any]) -> Table:
    """End to end: files to slices.csv, start-up and all."""
    measured = {name: _plain(name) for name in ("batch", "workers", "files", "failed")}
    measured |= {"wall s": _number("wall_s", 2), "slices/s": _RATE}
    measured |= {"steady slices/s": _number("steady_slices_per_second", 1), "peak MB": _number("peak_mb", 0)}
    return _table(document["end_to_end"], measured, {accuracy_name(document): _ACCURACY, "same class": _same})


def offline_table(document: dict[str, Any]) -> Table:
    """All slices at hand: the rate alone counts."""
    measured = {
        "batch": _plain("batch"),
        "slices": _number("slices", 0),
        "seconds": _number("timed_s", 1),
        "slices/s": _RATE,
        "thirds ±%": _THIRDS,
        "J / 1,000": _JOULES,
    }
    return _table(document.get("offline", ()), measured, {accuracy_name(document): _ACCURACY})


def server_table(document: dict[str, Any]) -> Table:
    """Slices that arrive at random: the highest rate at which 99 % are answered in time."""

    def of_offline(row: Row) -> str:
        rate = row["slices_per_second"]
        return DASH if rate is None else f"{100 * rate / row['most_rate']:.0f} %"

    measured = {
        "bound ms": _number("bound_ms", 0),
        "slices/s in time": lambda row: "none" if row["slices_per_second"] is None else _RATE(row),
        "of offline": of_offline,
        "p50 ms": _number("latency_ms.p50", 1),
        "p99 ms": _number("latency_ms.p99", 1),
        "queries": _number("latency_ms.samples", 0),
        "slices a call": _number("mean_batch", 1),
    }
    return _table(document.get("server", ()), measured, {accuracy_name(document): _ACCURACY})


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
    lines += [
        f"single stream and batches: {document['settings']['threads']} threads each, candidates in turns; "
        "a call is one batch, from uint8 slices to answers on the host; CV: coefficient of variation of all calls; "
        "thirds: (fastest − slowest) / mean of the rates of the calls' three thirds.",
        "cold start: a fresh process with that network alone; load is importing the library, checking hashes and "
        "building the session; peak MB is its resident memory.",
    ]
    if document.get("offline"):
        lines.append("offline: pass after pass over all slices, at the batch size that was fastest before.")
    if document.get("server"):
        lines.append(
            "server: slices arrive one by one at random (Poisson); the highest rate found at which 99 % are answered "
            "within the bound, counted from their arrival; what waits goes into the next call together."
        )
    of = sorted({row["energy"]["of"] for row in document["rows"] if row.get("energy")})
    joules = f"J / 1,000: joules per 1,000 slices of {'; '.join(of)}."
    lines.append(joules if of else "joules: this machine tells no power that may be read.")
    if document["end_to_end"]:
        lines.append(
            "folder: `classify` from files to table, start of workers and loading of the network included; steady "
            "without the first batch and before; peak MB without the decode workers."
        )
    needed = [(value_of(row, "latency_ms.needed") or {}).items() for row in document["rows"]]
    if short := sorted({one for some in needed for one in some if one[0] != "p95"}):
        takes = ", ".join(f"{count} for {percentile}" for percentile, count in short)
        lines.append(f"{DASH}: too few calls for that percentile; it takes {takes}.")
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


def accuracy_name(document: dict[str, Any]) -> str:
    """The one figure that stands beside every speed, with a mark where it flatters."""
    mark = " (SPLIT BY SLICE)" if document["data"].get("split_by") == "slice" else ""
    mark += f" ({MARK})" if document["data"].get("synthetic") else ""
    return ("accuracy" if document["bundle"]["task"] == "classify" else "mean Dice") + mark


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
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]
    sides = [str.ljust if i < left else str.rjust for i in range(len(widths))]
    rule = [side(":", width, "-") for side, width in zip(sides, widths, strict=True)]
    return [
        f"| {' | '.join(side(cell, width) for cell, side, width in zip(cells, sides, widths, strict=True))} |"
        for cells in [header, rule, *rows]
    ]
