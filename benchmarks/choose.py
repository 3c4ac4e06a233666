"""Which network × precision × runtime × batch size to use on this box: measured here, within limits.

Everything is scored on the same slices and timed in turns (`benchmarks.scenarios`); one bundle after the other, so that
only one bundle's networks are in memory. Of those within all limits the fastest wins; within 5 % of it, which
is what a re-run may change, the more sensitive one, then the smaller.

Lesion sensitivity is the share of the slices with a lesion (class 2) that get class 2, without abstaining. Without
labelled slices it is unknown, and what is unknown meets no limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.candidates import candidates_of
from benchmarks.contenders import Contender, Row, score_all
from benchmarks.inputs import choose_inputs
from benchmarks.latency import Effort
from benchmarks.machine import busy_notes, describe_machine, processor_ticks, stolen_share
from benchmarks.percentiles import needed_samples
from benchmarks.plan import Plan
from benchmarks.scenarios import timed_rows
from benchmarks.telemetry import Telemetry
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, UserError
from lits_deploy.machine import cores
from lits_deploy.metrics import per_class_rates

SCHEMA = 1

ALIKE = 0.05
"""Rates that differ by less are taken for equal."""

EFFORT = Effort(samples=needed_samples(95), cap_s=6.0, floor=needed_samples(90), warmup_s=0.5, warmup_cap_s=3.0)
QUICK_EFFORT = Effort(samples=needed_samples(90), cap_s=1.5, floor=needed_samples(50), warmup_s=0.2, warmup_cap_s=1.0)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the choice must keep; None: no limit.

    latency_ms: p90 of a call (a slice waits for its whole batch). min_sensitivity, min_accuracy: 0…1. max_mb: of the
    model file, in 10⁶ bytes. max_memory_mb: peak resident memory of a process with that network alone. min_rate:
    slices per second.
    """

    latency_ms: float | None = None
    min_sensitivity: float | None = None
    min_accuracy: float | None = None
    max_mb: float | None = None
    max_memory_mb: float | None = None
    min_rate: float | None = None

    def __post_init__(self) -> None:
        for name in ("latency_ms", "max_mb", "max_memory_mb", "min_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"A limit of {value:g} for {name} cannot be met.", fix="give a number above 0")
        for name in ("min_sensitivity", "min_accuracy"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"{name} of {value:g} is no share.", fix="give a number from 0 to 1, such as 0.6")

    def broken_by(self, row: Row) -> list[str]:
        """Why a row does not qualify; empty where it does."""
        latency = (row["latency_ms"] or {}).get("p90")
        checks = [
            ("latency p90", latency, self.latency_ms, "ms", False, 1), ("lesion sensitivity", row["sensitivity"],
            self.min_sensitivity, "", True, 3), ("accuracy", row["accuracy"], self.min_accuracy, "", True, 3),
            ("size", row["size_mb"], self.max_mb, "MB", False, 1),
            ("memory", (row["cold"] or {}).get("peak_mb"), self.max_memory_mb, "MB", False, 0),
            ("rate", row["slices_per_second"], self.min_rate, "slices/s", True, 1),
        ]  # fmt: skip
        found = []
        for name, value, limit, unit, at_least, digits in checks:
            if limit is None:
                continue
            if value is None:
                found.append(f"{name} is not known")
            elif value < limit if at_least else value > limit:
                sign = "<" if at_least else ">"
                found.append(f"{name} {value:,.{digits}f} {sign} {limit:g} {unit}".rstrip())
        return found


def choose(
    bundles: Sequence[Bundle],
    limits: Limits,
    *,
    data: Path | None = None,
    batches: Sequence[int] = (1, 4, 8, 16, 32),
    threads: int = 0,
    quick: bool = False,
    effort: Effort | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure all bundles and recommend. Returns the document: rows, best first, with what each lost by; `chosen`.

    Raises BundleError for a U-Net (its figures are others) and UserError where nothing runs here.
    """
    for bundle in bundles:
        if bundle.manifest.task != "classify":
            raise BundleError(f"{bundle.folder} segments; `choose` compares classifiers.", fix="leave it out")
    session_machine, ticks = describe_machine(), processor_ticks()
    plan = Plan(
        batches=tuple(batches), threads=threads or cores(), mode="quick" if quick else "full",
        effort=effort or (QUICK_EFFORT if quick else EFFORT),
    )  # fmt: skip
    rows: list[Row] = []
    notes: list[str] = []
    lines: dict[str, str] = {}
    with Telemetry() as telemetry:
        for bundle in bundles:
            name = bundle.folder.resolve().name
            say(f"{name}:")
            inputs = choose_inputs(bundle, data, quick=quick, say=say)
            notes += [f"{name}: {note}" for note in inputs.notes]
            lines[name] = inputs.line()
            candidates = candidates_of(bundle, plan.threads)
            contenders = score_all(candidates, bundle, inputs, against_original=False, notes=notes, say=say)
            for batch in plan.batches:
                say(f"{name}: batch {batch}, {len(contenders)} candidates in turns")
                for row in timed_rows(contenders, inputs, batch, plan, telemetry):
                    rows.append({**row, **_about(bundle, row, contenders, phantom="phantom" in inputs.line())})
    machine = {**session_machine, "stolen_share": stolen_share(ticks, processor_ticks())}
    return {
        "kind": "choose", "schema": SCHEMA, "disclaimer": DISCLAIMER, "machine": machine, "data": lines,
        "limits": dataclasses.asdict(limits),
        "settings": {"batches": list(plan.batches), "threads": plan.threads, "quick": quick},
        **decide(rows, limits), "notes": notes + busy_notes(machine, machine["stolen_share"]),
    }  # fmt: skip


def _about(bundle: Bundle, row: Row, contenders: list[Contender], *, phantom: bool) -> dict[str, Any]:
    """Bundle, network and lesion sensitivity; figures of phantoms are none of patients, so they count as unknown."""
    own = next(
        contender.candidate for contender in contenders
        if (contender.candidate.runtime, contender.candidate.device, contender.candidate.artifact)
        == (row["runtime"], row["device"], row["artifact"])
    )  # fmt: skip
    confusion = None if phantom else (row["figures"] or {}).get("confusion")
    rates = None if confusion is None else per_class_rates(np.array(confusion))["sensitivity"]
    return {
        "bundle": bundle.folder.resolve().name, "network": bundle.manifest.model.get("name"),
        "sensitivity": None if rates is None or not np.isfinite(rates[2]) else float(rates[2]),
        "accuracy": None if phantom else row["accuracy"],
        "options": {"artifact": own.artifact, "runtime": own.runtime, "device": own.device, "batch": row["batch"]},
    }  # fmt: skip


def decide(rows: list[Row], limits: Limits) -> dict[str, Any]:
    """`chosen`: index of the recommended row, or None; `rows`: best first, each with `verdict`; `reason` in words."""
    good = [row for row in rows if row["error"] is None and not limits.broken_by(row)]
    ranked: list[Row] = []
    rest = sorted(good, key=_rate, reverse=True)
    while rest:  # the best of those as fast as the fastest, again and again
        alike = [row for row in rest if _rate(row) >= (1 - ALIKE) * _rate(rest[0])]
        best = max(alike, key=lambda row: (row["sensitivity"] or 0.0, -row["size_mb"], _rate(row)))
        ranked.append(best)
        rest.remove(best)
    bad = [row for row in rows if row not in good]
    bad.sort(key=lambda row: (row["error"] is not None, len(limits.broken_by(row)) if row["error"] is None else 0))
    for row in ranked:
        row["verdict"] = "recommended" if row is ranked[0] else _lost(row, ranked[0])
    for row in bad:
        row["verdict"] = f"error: {row['error']}" if row["error"] else "; ".join(limits.broken_by(row))
    return {"chosen": 0 if ranked else None, "rows": [*ranked, *bad], "reason": _reason(ranked, bad, limits)}


def _rate(row: Row) -> float:
    return float(row["slices_per_second"] or 0.0)


def _lost(row: Row, best: Row) -> str:
    share = _rate(row) / _rate(best)
    if share < 1 - ALIKE:
        return f"slower: {share:.2f} × the rate of the recommended one"
    if (row["sensitivity"] or 0.0) < (best["sensitivity"] or 0.0):
        return f"as fast, but less sensitive ({row['sensitivity']:.3f})"
    return "as fast, but larger" if row["size_mb"] > best["size_mb"] else "as good as the recommended one"


def _reason(ranked: list[Row], bad: list[Row], limits: Limits) -> str:
    asked = [f"{name} {value:g}" for name, value in dataclasses.asdict(limits).items() if value is not None]
    within = f"the limits ({', '.join(asked)})" if asked else "no limits at all"
    if not ranked:
        nearest = next((row for row in bad if row["error"] is None), None)
        near = "" if nearest is None else f" Nearest: {title(nearest)}: {'; '.join(limits.broken_by(nearest))}."
        return f"Nothing that was measured keeps {within}.{near}"
    best = ranked[0]
    fast = sum(_rate(row) >= (1 - ALIKE) * _rate(best) for row in ranked)
    why = "the fastest" if fast < 2 else f"the most sensitive, then smallest, of {fast} about equally fast ones"
    return f"{title(best)}: {why} of {len(ranked)} within {within}; {len(bad)} others did not keep them."


def title(row: Row) -> str:
    """A row in words."""
    device = "" if row["device"] == "cpu" else f" on {row['device']}"
    return f"{row['network']} ({row['bundle']}) {row['artifact']}, {row['runtime']}{device}, batch {row['batch']}"
