"""Which network × precision × runtime × batch size to use on this box: measured here, within limits.

Everything is scored on the same slices and timed in turns (`benchmarks.scenarios`); one bundle after the other, so that
only one bundle's networks are in memory. `benchmarks.recommendation` has the rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.candidates import candidates_of
from benchmarks.contenders import Contender, Row, score_all
from benchmarks.inputs import choose_inputs
from benchmarks.latency import Effort
from benchmarks.machine import busy_notes, describe_machine, processor_ticks, stolen_share
from benchmarks.percentiles import needed_samples
from benchmarks.plan import Plan
from benchmarks.recommendation import Limits, decide, figures_of
from benchmarks.same_slices import KEY
from benchmarks.scenarios import timed_rows
from benchmarks.telemetry import Telemetry
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.machine import cores

SCHEMA = 1

EFFORT = Effort(samples=needed_samples(95), cap_s=6.0, floor=needed_samples(90), warmup_s=0.5, warmup_cap_s=3.0)
QUICK_EFFORT = Effort(samples=needed_samples(90), cap_s=1.5, floor=needed_samples(50), warmup_s=0.2, warmup_cap_s=1.0)


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
    test_sets: dict[str, str] = {}
    with Telemetry() as telemetry:
        for bundle in bundles:
            name = bundle.folder.resolve().name
            say(f"{name}:")
            inputs = choose_inputs(bundle, data, quick=quick, say=say)
            notes += [f"{name}: {note}" for note in inputs.notes]
            lines[name] = inputs.line()
            test_sets[name] = inputs.about[KEY]
            candidates = candidates_of(bundle, plan.threads)
            contenders = score_all(candidates, bundle, inputs, against_original=False, notes=notes, say=say)
            for batch in plan.batches:
                say(f"{name}: batch {batch}, {len(contenders)} candidates in turns")
                for row in timed_rows(contenders, inputs, batch, plan, telemetry):
                    unknown = inputs.synthetic and data is None
                    rows.append({**row, **_about(bundle, row, contenders, unknown=unknown)})
                    rows[-1]["synthetic"] = inputs.synthetic
    if len(set(test_sets.values())) > 1 and any(row["accuracy"] is not None for row in rows):
        notes.append(
            "TWO TEST SETS: not all bundles were scored on the same slices, so their accuracies cannot be compared"
        )
    machine = {**session_machine, "stolen_share": stolen_share(ticks, processor_ticks())}
    return {
        "kind": "choose", "schema": SCHEMA, "disclaimer": DISCLAIMER, "machine": machine, "data": lines,
        "test_sets": test_sets,
        "limits": dataclasses.asdict(limits),
        "settings": {"batches": list(plan.batches), "threads": plan.threads, "quick": quick},
        **decide(rows, limits), "notes": notes + busy_notes(machine, machine["stolen_share"]),
    }  # fmt: skip


def _about(bundle: Bundle, row: Row, contenders: list[Contender], *, unknown: bool) -> dict[str, Any]:
    """Bundle, network and figures. unknown: the slices are phantoms that nobody asked for: their figures are none of
    patients, and meet no limit. Of phantoms that were named they count, and are marked wherever they stand."""
    own = next(
        contender.candidate for contender in contenders
        if (contender.candidate.runtime, contender.candidate.device, contender.candidate.artifact)
        == (row["runtime"], row["device"], row["artifact"])
    )  # fmt: skip
    confusion = None if unknown else (row["figures"] or {}).get("confusion")
    return {
        "bundle": bundle.folder.resolve().name, "network": bundle.manifest.model.get("name"),
        **figures_of(confusion), "accuracy": None if unknown else row["accuracy"],
        "options": {"artifact": own.artifact, "runtime": own.runtime, "device": own.device, "batch": row["batch"]},
    }  # fmt: skip
