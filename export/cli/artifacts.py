"""The table that ends an export of several precisions: artifacts, gates and sizes, drawn from the manifest alone."""

from __future__ import annotations

from typing import Any

from export.card import delta
from lits_deploy.bundle import Bundle
from lits_deploy.cli.console import console, table

HEADER = ("artifact", "MB", "for", "checked on", "max |Δp|", "flipped", "lesions lost/found", "accuracy", "gate")


def show_artifacts(bundle: Bundle) -> None:
    """Print it: a row for every artifact and runtime, those left out last, and below it what was broken or is noted."""
    segment = bundle.manifest.task == "segment"
    left_out = bundle.manifest.left_out
    listed = [(a.name, a.bytes, a.parity, a.gate, ", ".join(a.runtimes) or "any") for a in bundle.manifest.artifacts]
    listed += [(name, record["bytes"], {}, record["gate"], "left out") for name, record in left_out.items()]
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for name, size, parity, gate, runtimes in listed:
        head = (name, f"{size / 1e6:.1f}", runtimes)
        if not gate:
            rows.append((*head, "PyTorch", delta(parity["max_delta"]), str(parity["flipped"]), "", "", "original"))
        for target, figures in gate.get("runtimes", {}).items():
            rows.append((*head, target, *_figures(figures, segment), _verdict(gate, figures, name in left_out)))
        notes += [f"{name}: {line}" for line in (*gate.get("failures", ()), gate.get("note")) if line]
    table((*HEADER[:-2], "lesion Dice" if segment else "accuracy", "gate"), rows, right=("MB", "max |Δp|", "flipped"))
    for note in notes:
        console.print(f"  {note}")


def _figures(figures: dict[str, Any], segment: bool) -> tuple[str, str, str, str]:
    before, after = (
        side["dice"][-1] if segment else side["accuracy"] for side in (figures["original"], figures["artifact"])
    )
    changed = "not defined" if before is None or after is None else f"{before:.4f} → {after:.4f}"
    lost = f"{figures['lesions_lost']}/{figures['lesions_found']} of {figures['lesion_slices']}"
    return delta(figures["max_delta"]), str(figures["flipped"]), lost, changed


def _verdict(gate: dict[str, Any], figures: dict[str, Any], left_out: bool) -> str:
    if gate["passed"]:
        return "passed" if figures["passed"] else "FAILED, not placed there"
    return "FAILED" if left_out else "FAILED, allowed"
