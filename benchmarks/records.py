"""Records of measurements for `docs/results/`: one JSON and one Markdown file, named for what and on which machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import busy_notes, describe_machine, processor_ticks, stolen_share
from lits_deploy import DISCLAIMER
from lits_deploy.files import write_json, write_words

RESULTS = Path("docs/results")


class Session:
    """The machine at the start of a measurement; `document` closes it."""

    def __init__(self) -> None:
        self._machine, self._ticks = describe_machine(), processor_ticks()

    def document(self, kind: str, schema: int, **values: Any) -> dict[str, Any]:
        """A record: kind, schema, machine with the share of stolen time, notes on who else was computing."""
        machine = {**self._machine, "stolen_share": stolen_share(self._ticks, processor_ticks())}
        notes = [*values.pop("notes", []), *busy_notes(machine, machine["stolen_share"])]
        return {
            "kind": kind, "schema": schema, "disclaimer": DISCLAIMER, "machine": machine, **values, "notes": notes,
        }  # fmt: skip


def machine_name(machine: dict[str, Any]) -> str:
    """A name for files: `2core-amd-epyc`, or the GPU's where there is one."""
    gpus = machine["gpus"]
    text = gpus[0] if gpus else f"{machine['cores']}core-{machine['processor']}"
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def write_record(document: dict[str, Any], lines: Sequence[str], folder: Path, name: str | None = None) -> list[Path]:
    """`<kind>-<machine>.json` and `.md` in `folder`; name: in place of the machine's."""
    stem = f"{document['kind']}-{name or machine_name(document['machine'])}"
    paths = [folder / f"{stem}.json", folder / f"{stem}.md"]
    write_json(paths[0], document)
    write_words(paths[1], "\n".join(lines) + "\n")
    return paths


def middle(values: Sequence[float | None]) -> float | None:
    """The median of what is known."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def spread(values: Sequence[float]) -> str:
    """`118.2 (115.0–121.3)`: median, least and most."""
    if not values:
        return "–"
    text = f"{median(values):,.1f}"
    return text if len(values) == 1 else f"{text} ({min(values):,.1f}–{max(values):,.1f})"
