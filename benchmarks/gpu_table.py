"""The records of `gpu_check` as Markdown: whatever parts there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lits_deploy import DISCLAIMER

Records = dict[str, dict[str, Any]]
Lines = list[tuple[str, ...]]


def read(folder: Path) -> Records:
    """Records by part's name, in the order of the parts; none where there is nothing."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    return dict(sorted(found.items(), key=lambda item: item[1].get("order", 0)))


def table(records: Records) -> list[str]:
    """All of them as text: the machine, speeds, training, folder, and how each part ended."""
    gpu = records.get("machine", {}).get("gpu", {})
    capability = f", compute capability {gpu['compute_capability']}" if "compute_capability" in gpu else ""
    head = f"{gpu.get('name', 'no GPU')}{capability}, driver {gpu.get('driver')}, PyTorch {gpu.get('torch')}"
    ended: Lines = [("part", "ended", "s", "limit s"), *(_ended(name, record) for name, record in records.items())]
    return [
        head,
        *_drawn(_speeds(records)),
        *_drawn(_training(records)),
        *_drawn(_folders(records)),
        *_drawn(ended),
        "",
        *dict.fromkeys(f"note: {note}" for note in _all(records, "notes")),
        DISCLAIMER,
    ]


def _all(records: Records, key: str) -> Iterator[Any]:
    for record in records.values():
        yield from record.get(key, ())


def _speeds(records: Records) -> Lines:
    head = (
        *("network", "batch", "runtime", "precision", "p50 ms", "slices/s", "× eager FP32", "max |Δp|"),
        "labels equal",
    )
    lines: Lines = [head]
    for row in sorted(_all(records, "rows"), key=lambda row: (row["network"], row["batch"])):
        rate, eager = row["slices_per_second"], row.get("eager_slices_per_second")
        found = (row["error"] or "")[:160], "", "", "", ""
        if row["error"] is None:
            found = (
                _number(row["latency_ms"].get("p50"), ".3f"),
                _number(rate, ",.0f"),
                _number(rate / eager if eager else None, ".2f"),
                _number(row["max_delta"], ".1e"),
                _number(row["labels_equal"], ".2%"),
            )
        lines.append((row["network"], str(row["batch"]), row["runtime"], row["precision"], *found))
    return lines


def _training(records: Records) -> Lines:
    lines: Lines = [("training", "batch", "as", "slices/s", "35,484 slices, s")]
    for row in _all(records, "training"):
        name = row["network"] + (f" (width {row['width']})" if row["width"] else "")
        rate = row["error"] or _number(row.get("slices_per_second"), ",.0f")
        lines.append((name, str(row["batch"]), row["candidate"], rate[:160], _number(row.get("full_epoch_s"), ".1f")))
    return lines


def _folders(records: Records) -> Lines:
    columns = {
        "slices/s": ("slices_per_second", ",.0f"),
        "decoding alone": ("decode_slices_per_second", ",.0f"),
        "network alone": ("engine_slices_per_second", ",.0f"),
        "of the slower": ("of_the_slower", ".0%"),
        "workers decode": ("decode_share", ".0%"),
        "copy": ("copy_share", ".0%"),
        "compute": ("compute_share", ".0%"),
        "wait": ("wait_share", ".0%"),
    }
    lines: Lines = [("folder through", *columns)]
    for row in _all(records, "folder"):
        cells = (_number(row[name], form) for name, form in columns.values())
        lines.append((f"{row['runtime']} {row['precision']}", *cells))
    return lines


def _ended(name: str, record: dict[str, Any]) -> tuple[str, ...]:
    how = record.get("skipped") or record.get("error") or record.get("tests") or "done"
    return name, how[:200], _number(record.get("seconds"), ".0f"), _number(record.get("limit_s"), ".0f")


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def _drawn(lines: Lines) -> list[str]:
    """A table after an empty line; nothing where there is only its head."""
    if len(lines) == 1:
        return []
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    cells.insert(1, [":--", *["--:"] * (len(lines[0]) - 1)])
    return ["", *("| " + " | ".join(line) + " |" for line in cells)]
