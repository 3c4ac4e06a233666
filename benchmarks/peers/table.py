"""The comparison as Markdown. Draws from the document alone."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.contest import ratio
from benchmarks.records import middle, spread
from benchmarks.report import DASH, machine_line, markdown_table, number

Row = dict[str, Any]


def lines(document: dict[str, Any]) -> list[str]:
    """Folder to CSV, model only, aims, and what the columns contain."""
    rows, settings = document["rows"], document["settings"]
    plain = next((row for row in rows if row["name"] == "plain"), None)
    text = [
        f"# Peers side by side: {document['model'].get('name')}",
        "",
        f"{machine_line(document)}",
        "",
        f"{document['scans']}; {settings['threads']} threads each; "
        f"{settings['rounds']} rounds in turns, medians (least–most).",
        "",
        "## Folder to CSV",
        "",
        *markdown_table(_folder_table(rows, plain), left=2),
        "",
        "## Model only",
        "",
        *markdown_table(_model_table(rows), left=2),
        "",
        "## Aims",
        "",
        *markdown_table(_aims_table(document["aims"]), left=1),
        "",
    ]
    for name, why in document["failed"].items():
        text.append(f"- {name}: not measured: {why}")
    text += [f"- {line}" for line in (*EXPLAINED, *document["notes"])]
    versions = ", ".join(f"{name} {version}" for name, version in document["machine"]["libraries"].items())
    return [*text, "", versions, "", document["disclaimer"]]


EXPLAINED = (
    "slices/s of wall: files to CSV, with loading the network and starting workers, without the interpreter's start "
    "and imports; steady: from the first answers to the last.",
    "× plain: median of the rounds' ratios of wall rates to the plain PyTorch script.",
    "model only: decoded slices in memory to classes, after two warm-up calls; for ours see the overhead record.",
    "peak MB: of the main process, without decode workers or DataLoader workers.",
    "torch.compile's cache on disk was warm; its wall includes loading from it.",
)


def _folder_table(rows: list[Row], plain: Row | None) -> tuple[list[str], list[list[str]]]:
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


def _model_table(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
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


def _aims_table(aims: list[Row]) -> tuple[list[str], list[list[str]]]:
    cells = [
        [aim["what"], f"≥ {aim['aim']:g}", number(aim["ratio"], 3), "reached" if aim["reached"] else "NOT reached"]
        for aim in aims
    ]
    return ["ratio of wall rates", "aim", "measured", ""], cells
