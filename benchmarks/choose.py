"""Which network × precision × runtime × batch size to use on this box: measured here, within limits.

Everything is scored on the same slices and timed in turns (`benchmarks.scenarios`); one bundle after the other, so that
only one bundle's networks are in memory.

A row is out if it failed, breaks a limit, or is no better than always the same answer: its accuracy is not above the
share of the class that most of the scored slices have, or its sensitivity and specificity for lesions add up to no more
than 1, which is what guessing reaches. Of the rest
the fastest wins; within 5 % of it, which is what a re-run may change, the one of higher balanced accuracy, then the
smaller. Sensitivity alone decides nothing: a network that calls everything a lesion has the highest.

Sensitivity: share of the slices with a lesion (class 2) that get class 2. Specificity: share of those without one that
get another class. Balanced accuracy: mean over the classes of the share that gets its class. All without abstaining.
Without labelled slices they are unknown, and what is unknown meets no limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.candidates import candidates_of
from benchmarks.contenders import Row, score_all
from benchmarks.inputs import choose_inputs
from benchmarks.latency import MeasuringEffort
from benchmarks.machine import MachineRecord
from benchmarks.percentiles import needed_samples
from benchmarks.same_slices import KEY
from benchmarks.scenarios import Plan, Scenarios
from benchmarks.telemetry import Telemetry
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, UserError
from lits_deploy.machine import cores
from train.metrics import balanced_accuracy, per_class_rates

LESION = 2
"""The class that sensitivity and specificity are about."""

ALIKE = 0.05
"""Rates that differ by less are taken for equal."""


@dataclass(frozen=True, kw_only=True)
class ChoiceLimits:
    """What the choice must keep; None: no limit.

    latency_ms: p90 of a call (a slice waits for its whole batch). min_sensitivity, min_specificity, min_accuracy: 0…1.
    max_mb: of the model file, in 10⁶ bytes. max_memory_mb: peak resident memory of a process with that network alone.
    min_rate: slices per second.
    """

    latency_ms: float | None = None
    min_sensitivity: float | None = None
    min_specificity: float | None = None
    min_accuracy: float | None = None
    max_mb: float | None = None
    max_memory_mb: float | None = None
    min_rate: float | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            share = name in ("min_sensitivity", "min_specificity", "min_accuracy")
            if value is not None and share and not 0 <= value <= 1:
                raise UserError(f"{name} of {value:g} is not a share.", fix="give a number from 0 to 1, such as 0.6")
            if value is not None and not share and not value > 0:
                raise UserError(f"A limit of {value:g} for {name} cannot be met.", fix="give a number above 0")

    def broken_by(self, row: Row) -> list[str]:
        """The limits that a row does not keep, in words."""
        latency = (row["latency_ms"] or {}).get("p90")
        checks = [
            ("latency p90", latency, self.latency_ms, "ms", False, 1),
            ("lesion sensitivity", row["sensitivity"], self.min_sensitivity, "", True, 3),
            ("lesion specificity", row["specificity"], self.min_specificity, "", True, 3),
            ("accuracy", row["accuracy"], self.min_accuracy, "", True, 3),
            ("size", row["size_mb"], self.max_mb, "MB", False, 1),
            ("memory", (row["cold"] or {}).get("peak_mb"), self.max_memory_mb, "MB", False, 0),
            ("rate", row["slices_per_second"], self.min_rate, "slices/s", True, 1),
        ]
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


def figures_of(confusion: list[list[int]] | None) -> dict[str, float | None]:
    """sensitivity, specificity, balanced_accuracy, and `commonest`: the share of the class that most slices have.

    confusion: [K, K], rows = target; None where nothing is known, and then nothing is.
    """
    if confusion is None:
        return dict.fromkeys(("sensitivity", "specificity", "balanced_accuracy", "commonest"))
    matrix = np.array(confusion)
    rates = per_class_rates(matrix)
    values = {
        "sensitivity": rates["sensitivity"][LESION],
        "specificity": rates["specificity"][LESION],
        "balanced_accuracy": balanced_accuracy(matrix),
        "commonest": matrix.sum(axis=1).max() / max(1, matrix.sum()),
    }
    return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}


def ruled_out(row: Row, limits: ChoiceLimits) -> list[str]:
    """Why a row that was measured cannot be recommended; empty where it can."""
    found = limits.broken_by(row)
    accuracy, commonest = row["accuracy"], row["commonest"]
    if commonest == 1:
        return [*found, "the scored slices are all of one class: whether it tells classes apart is not known"]
    if accuracy is not None and commonest is not None and accuracy <= commonest:
        found.append(f"accuracy {accuracy:.3f}: no better than always the commonest class ({commonest:.3f})")
    a, b = row["sensitivity"], row["specificity"]
    if a is not None and b is not None and a + b <= 1 + 1e-9:  # shares of counts: their sum may miss 1 by a rounding
        found.append(f"lesions: sensitivity {a:.3f} and specificity {b:.3f} are no better than guessing")
    return found


def decide(rows: list[Row], limits: ChoiceLimits) -> dict[str, Any]:
    """`chosen`: index of the recommended row, or None; `rows`: best first, each with `verdict`; `reason` in words."""
    why_not = [[f"error: {row['error']}"] if row["error"] else ruled_out(row, limits) for row in rows]
    ranked: list[Row] = []
    rest = sorted((row for row, why in zip(rows, why_not, strict=True) if not why), key=_rate, reverse=True)
    while rest:  # the best of those as fast as the fastest, again and again
        alike = [row for row in rest if _rate(row) >= (1 - ALIKE) * _rate(rest[0])]
        best = max(alike, key=lambda row: (row["balanced_accuracy"] or 0.0, -row["size_mb"], _rate(row)))
        ranked.append(best)
        rest.remove(best)
    bad = [(row, why) for row, why in zip(rows, why_not, strict=True) if why]
    bad.sort(key=lambda pair: (pair[0]["error"] is not None, len(pair[1])))
    for row in ranked:
        row["verdict"] = "recommended" if row is ranked[0] else _lost(row, ranked[0])
    for row, why in bad:
        row["verdict"] = "; ".join(why)
    out = [row for row, _ in bad]
    return {"chosen": 0 if ranked else None, "rows": [*ranked, *out], "reason": _reason(ranked, out, limits)}


def _rate(row: Row) -> float:
    return float(row["slices_per_second"] or 0.0)


def _lost(row: Row, best: Row) -> str:
    share = _rate(row) / _rate(best)
    if share < 1 - ALIKE:
        return f"slower: {share:.2f} × the rate of the recommended one"
    own = row["balanced_accuracy"]
    if (own or 0.0) < (best["balanced_accuracy"] or 0.0):
        return f"as fast, but its balanced accuracy is {'not known' if own is None else f'lower ({own:.3f})'}"
    return "as fast, but larger" if row["size_mb"] > best["size_mb"] else "as good as the recommended one"


def _reason(ranked: list[Row], bad: list[Row], limits: ChoiceLimits) -> str:
    asked = [f"{name} {value:g}" for name, value in dataclasses.asdict(limits).items() if value is not None]
    within = f" within the limits ({', '.join(asked)})" if asked else ""
    if not ranked:
        nearest = next((row for row in bad if row["error"] is None), None)
        hint = "" if nearest is None else f" Nearest: {title(nearest)}: {nearest['verdict']}."
        return f"Nothing that was measured can be recommended{within}; the verdicts say why.{hint}"
    best = ranked[0]
    fast = sum(_rate(row) >= (1 - ALIKE) * _rate(best) for row in ranked)
    alike = f"the highest balanced accuracy, then smallest, of {fast} about equally fast ones"
    why = "the fastest" if fast < 2 else alike
    unknown = "" if best["accuracy"] is not None else " How often it is right is not known: --data scores it."
    return f"{title(best)}: {why} of {len(ranked)}{within}; {len(bad)} others are ruled out.{unknown}"


def title(row: Row) -> str:
    """A row in words."""
    device = "" if row["device"] == "cpu" else f" on {row['device']}"
    return f"{row['network']} ({row['bundle']}) {row['artifact']}, {row['runtime']}{device}, batch {row['batch']}"


SCHEMA = 1

EFFORT = MeasuringEffort(
    samples=needed_samples(95), cap_s=6.0, floor=needed_samples(90), warmup_s=0.5, warmup_cap_s=3.0
)
QUICK_EFFORT = MeasuringEffort(
    samples=needed_samples(90), cap_s=1.5, floor=needed_samples(50), warmup_s=0.2, warmup_cap_s=1.0
)


def choose(
    bundles: Sequence[Bundle],
    limits: ChoiceLimits,
    *,
    data: Path | None = None,
    batches: Sequence[int] = (1, 4, 8, 16, 32),
    threads: int = 0,
    quick: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure all bundles and recommend. Returns the document: rows, best first, with what each lost by; `chosen`.

    Raises BundleError for a U-Net (its figures are others) and UserError where nothing runs here.
    """
    for bundle in bundles:
        if bundle.manifest.task != "classify":
            raise BundleError(f"{bundle.folder} segments; `choose` compares classifiers.", fix="leave it out")
    session = MachineRecord()
    plan = Plan(
        batches=tuple(batches),
        threads=threads or cores(),
        mode="quick" if quick else "full",
        effort=QUICK_EFFORT if quick else EFFORT,
    )
    rows: list[Row] = []
    notes: list[str] = []
    lines: dict[str, str] = {}
    test_sets: dict[str, str] = {}
    with Telemetry() as telemetry:
        for bundle in bundles:
            name = bundle.folder.resolve().name
            say(f"{name}:")
            inputs = choose_inputs(bundle, data, quick=quick, say=say)
            notes += [f"{name}: {note}" for note in inputs.notes]
            lines[name], test_sets[name] = inputs.line(), inputs.about[KEY]
            contenders = score_all(candidates_of(bundle, plan.threads), bundle, inputs, notes, say)
            scenarios = Scenarios(contenders=contenders, inputs=inputs, plan=plan, telemetry=telemetry, say=say)
            for batch in plan.batches:
                say(f"{name}: batch {batch}, {len(contenders)} candidates in turns")
                for row in scenarios.timed(batch):
                    # Figures of phantoms that nobody asked for are none of patients, and meet no limit. Of phantoms
                    # that were named they count, and are marked wherever they stand.
                    unknown = inputs.synthetic and data is None
                    row |= {"bundle": name, "network": bundle.manifest.model.get("name")}
                    row |= figures_of(None if unknown else (row["figures"] or {}).get("confusion"))
                    row |= {"accuracy": None} if unknown else {}
                    row |= {"options": {key: row[key] for key in ("artifact", "runtime", "device", "batch")}}
                    rows.append({**row, "synthetic": inputs.synthetic})
    if len(set(test_sets.values())) > 1 and any(row["accuracy"] is not None for row in rows):
        notes.append(
            "TWO TEST SETS: not all bundles were scored on the same slices, so their accuracies cannot be compared"
        )
    return session.document(
        "choose",
        SCHEMA,
        data=lines,
        test_sets=test_sets,
        limits=dataclasses.asdict(limits),
        settings={"batches": list(plan.batches), "threads": plan.threads, "quick": quick},
        **decide(rows, limits),
        notes=notes,
    )
