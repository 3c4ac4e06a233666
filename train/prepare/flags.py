"""Tables that come with the Kaggle copy: their `*_mask_empty` columns are compared with the pixels, never believed.

In that copy they are inverted (True where the mask holds something). Knows nothing else about the tables.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_NAME = re.compile(r"volume-(\d+)_(\d+)\.png")
_TRUE, _FALSE = {"true", "1", "1.0", "yes"}, {"false", "0", "0.0", "no"}


def check_flags(tables: Sequence[Path], records: Sequence[dict[str, Any]]) -> list[str]:
    """One remark for each column of each table that disagrees with the prepared masks, with how often."""
    classes = {
        (record["number"], number): target
        for record in records
        if record["status"] == "prepared"
        for number, target in zip(record["slices"]["number"], record["slices"]["class"], strict=True)
    }
    return [note for table in tables for note in _check(table, classes)]


def _check(table: Path, classes: dict[tuple[int, int], int]) -> list[str]:
    wrong: dict[str, int] = {}
    total: dict[str, int] = {}
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            for row in csv.DictReader(stream):
                target = _target(row, classes)
                for column, value in row.items():
                    says = _truth(value) if str(column).endswith("mask_empty") else None
                    if target is None or says is None:
                        continue
                    empty = target < (1 if "liver" in column else 2)
                    total[column] = total.get(column, 0) + 1
                    wrong[column] = wrong.get(column, 0) + (says != empty)
    except (OSError, UnicodeDecodeError, csv.Error):
        return [f"{table.name}: not a readable table, left out"]
    return [
        f"{table.name}: {column} disagrees with the pixels on {count:,} of {total[column]:,} slices"
        f"{' (inverted)' if count == total[column] else ''}; the pixels decide"
        for column, count in wrong.items()
        if count
    ]


def _target(row: dict[str, Any], classes: dict[tuple[int, int], int]) -> int | None:
    for value in row.values():
        if isinstance(value, str) and (match := _NAME.fullmatch(value.replace("\\", "/").rsplit("/", 1)[-1])):
            return classes.get((int(match[1]), int(match[2])))
    return None


def _truth(value: Any) -> bool | None:
    text = str(value).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None
