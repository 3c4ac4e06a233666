"""The comparison as Markdown. Draws from the document alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.peers.contest import middle, ratio
from benchmarks.report import DASH, Table, machine_line, markdown_table, number
from lits_deploy.pipeline.defaults import CPU_BATCH

Row = dict[str, Any]

AIM = 0.05
"""Largest overhead by wall."""


def lines(document: dict[str, Any]) -> list[str]:
    """Folder to CSV, model only, aims, and what the columns contain."""
    rows, settings = document["rows"], document["settings"]
    plain = next((row for row in rows if row["name"] == "plain"), None)
    text = [
        f"# Peers side by side: {document['model'].get('name')}",
        "",
        machine_line(document),
        "",
        f"{document['scans']}; {settings['threads']} threads each; "
        f"{settings['rounds']} rounds in turns, medians (least–most).",
    ]
    for title, table, left in (
        ("Folder to CSV", _folder_table(rows, plain), 2),
        ("Model only", _model_table(rows), 2),
        ("Aims", _aims_table(document["aims"]), 1),
        *_overhead_tables([row for row in rows if row["overhead"]]),
    ):
        text += ["", f"## {title}", "", *markdown_table(table, left=left)]
    text += ["", *(f"- {name}: not measured: {why}" for name, why in document["failed"].items())]
    text += [f"- {line}" for line in (*EXPLAINED, *document["notes"])]
    versions = ", ".join(f"{name} {version}" for name, version in document["machine"]["libraries"].items())
    return [*text, "", versions, "", document["disclaimer"]]


def spread(values: Sequence[float]) -> str:
    """`118.2 (115.0–121.3)`: median, least and most."""
    text = f"{median(values):,.1f}" if values else DASH
    return text if len(values) < 2 else f"{text} ({min(values):,.1f}–{max(values):,.1f})"


EXPLAINED = (
    "slices/s of wall: files to CSV, with loading the network and starting workers, without the interpreter's start "
    "and imports; steady: from the first answers to the last.",
    "× plain: median of the rounds' ratios of wall rates to the plain PyTorch script.",
    "model only: decoded slices in memory to classes, after two warm-up calls, without loading, decoding or writing.",
    f"overhead: 1 − ours / bare loop, which is the library's own calls, model only, in batches of {CPU_BATCH}; the "
    "steady rate leaves the pipeline's start out as well.",
    "peak MB: of the main process, without decode workers or DataLoader workers.",
    "torch.compile's cache on disk was warm; its wall includes loading from it.",
)


def _folder_table(rows: list[Row], plain: Row | None) -> Table:
    header = ["candidate", "library, precision", "batch", "workers", "slices/s of wall", "steady", "× plain", "load s"]
    header += ["peak MB", "accuracy", "classes ≠ ours"]
    cells = []
    for row in sorted(rows, key=lambda row: -(middle(row["wall"]) or 0.0)):
        over = None if plain is None else ratio(row["wall"], plain["wall"])
        cells.append(
            [
                f"**{row['title']}**" if row["ours"] else row["title"],
                f"{row['library']}, {row['artifact'] or 'fp32'}",
                str(row["batch"]),
                str(row["workers"]),
                spread(row["wall"]),
                number(middle(row["steady"]), 1),
                number(over, 2),
                number(row["load_s"], 2),
                number(row["peak_mb"], 0),
                number(row["accuracy"], 3),
                DASH if row["other_classes"] is None else str(row["other_classes"]),
            ]
        )
    return header, cells


def _model_table(rows: list[Row]) -> Table:
    batches = list(dict.fromkeys(batch for row in rows for batch in row["model"] or {}))
    header = ["candidate", "library, precision", "batch 1 p50 ms", *(f"slices/s, batch {batch}" for batch in batches)]
    cells = []
    for row in rows:
        if row["model"] is None:
            continue
        single = (row["model"].get("1") or {}).get("p50_ms")
        rates = [
            spread(row["model"][batch]["slices_per_second"]) if batch in row["model"] else DASH for batch in batches
        ]
        cells.append([row["title"], f"{row['library']}, {row['artifact'] or 'fp32'}", number(single, 1), *rates])
    return header, cells


def _aims_table(aims: list[Row]) -> Table:
    cells = [
        [aim["what"], f"≥ {aim['aim']:g}", number(aim["ratio"], 3), "reached" if aim["reached"] else "NOT reached"]
        for aim in aims
    ]
    return ["ratio of wall rates", "aim", "measured", ""], cells


def _overhead_tables(rows: list[Row]) -> list[tuple[str, Table, int]]:
    """What ours costs over the bare loop, and where the time of the last round went."""
    if not rows:
        return []
    header = ["candidate", "bare loop, slices/s", "folder to CSV, wall", "steady", "overhead, wall", "steady ", "aim"]
    costs = []
    for row in rows:
        found, steady = row["overhead"], [rate for rate in row["steady"] if rate is not None]
        reached = "reached" if found["wall"] <= AIM else "NOT reached"
        rates = [spread(found["bare"]), spread(row["wall"]), spread(steady)]
        shares = [DASH if found[name] is None else f"{100 * found[name]:.1f} %" for name in ("wall", "steady")]
        costs.append([row["name"], *rates, *shares, f"≤ {100 * AIM:.0f} %: {reached}"])
    tables = [("Overhead over the bare runtime", (header, costs), 1)]
    for title, key, digits, times in (
        ("Where the time went (last round, per cent of the wall)", "share_of_wall", 1, 100),
        ("Start-up in seconds from the call", "start_up", 2, 1),
    ):
        names = [name.removesuffix("_s").replace("_", " ") for name in rows[0]["overhead"][key]]
        cells = [
            [row["name"], *(number(times * value, digits) for value in row["overhead"][key].values())] for row in rows
        ]
        tables.append((title, (["candidate", *names], cells), 1))
    return tables
