"""The whole benchmark: score everything, start everything cold, then the scenarios (`benchmarks.plan`); one document.

The document is what benchmark.json holds; tables, CSV, page and plot are drawn from it alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.candidates import candidates_of
from benchmarks.contenders import Row, score_all
from benchmarks.inputs import choose_inputs
from benchmarks.machine import busy_notes, describe_machine, processor_ticks, stolen_share
from benchmarks.plan import Plan
from benchmarks.reference import open_reference
from benchmarks.scenarios import compare, folder_rows, judge, offline_rows, server_rows, timed_rows
from benchmarks.telemetry import Telemetry, throttled
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from lits_deploy.machine import cores

SCHEMA = 2


def benchmark(
    bundle: Bundle,
    plan: Plan,
    *,
    against: Path | None = None,
    data: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure a bundle here; see above and README.md of this folder for the rules.

    against: a training run to compare with, in PyTorch eager mode. Raises UserError for what the user can mend, among
    them MissingExtra where `against` needs PyTorch.
    """
    machine, ticks, quick = describe_machine(), processor_ticks(), plan.mode == "quick"
    plan = dataclasses.replace(plan, threads=plan.threads or cores())
    reference = None if against is None else open_reference(bundle, against, plan.threads)
    inputs = choose_inputs(bundle, data, of_run=None if reference is None else reference.data, quick=quick, say=say)
    notes = [*inputs.notes, *([] if reference is None else reference.notes)]
    originals = [] if reference is None else reference.candidates
    candidates = [*candidates_of(bundle, plan.threads, plan.engine_cache), *originals]
    contenders = score_all(
        candidates, bundle, inputs, against_original=bool(originals), notes=notes, say=say,
    )  # fmt: skip
    offline: list[Row] = []
    served: list[Row] = []
    folders: list[Row] = []
    with Telemetry() as telemetry:
        before = telemetry.snapshot()
        rows: list[Row] = []
        for batch in plan.timed_batches():
            say(f"batch {batch}: candidates in turns ({len(contenders)}), {plan.effort_for(batch).cap_s:g} s each")
            rows += timed_rows(contenders, inputs, batch, plan, telemetry)
        compare(rows)
        if "offline" in plan.scenarios:
            offline = offline_rows(contenders, rows, inputs, plan, telemetry, say)
        if "server" in plan.scenarios:
            served = server_rows(contenders, rows, offline, inputs, plan, say)
        if "folder" in plan.scenarios:
            folders = folder_rows(contenders, bundle, inputs, plan, notes, say)
        after = telemetry.snapshot()
    machine["stolen_share"] = stolen_share(ticks, processor_ticks())
    notes += busy_notes(machine, machine["stolen_share"])
    notes += throttled(before, after)
    if plan.mode == "strict":
        judge([*rows, *offline])
    return {
        "kind": "benchmark",
        "schema": SCHEMA,
        "disclaimer": DISCLAIMER,
        "machine": machine,
        "telemetry": {"before": before, "after": after, "throttled": throttled(before, after)},
        "bundle": {
            "name": bundle.folder.resolve().name, "sha256": bundle.sha256, "task": bundle.manifest.task,
            "model": bundle.manifest.model, "contract_sha256": bundle.manifest.contract.sha256,
        },
        "against": None if reference is None else reference.describe(),
        "data": {**inputs.about, "line": inputs.line()},
        "settings": {
            "batches": list(plan.batches), "threads": plan.threads, "mode": plan.mode, "quick": quick,
            "scenarios": list(plan.scenarios), "server_bound_ms": plan.bound_ms,
            "effort": {str(batch): dataclasses.asdict(plan.effort_for(batch)) for batch in plan.timed_batches()},
            "interleaved": True,
        },
        "rows": rows,
        "offline": offline,
        "server": served,
        "end_to_end": folders,
        "notes": notes,
    }  # fmt: skip
