"""The whole benchmark: score everything, start everything cold, then the scenarios; one document.

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
from benchmarks.machine import MachineRecord
from benchmarks.reference import open_reference
from benchmarks.scenarios import Plan, Scenarios, compare, mark_valid
from benchmarks.telemetry import Telemetry, throttled
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
    session, plan = MachineRecord(), dataclasses.replace(plan, threads=plan.threads or cores())
    reference = None if against is None else open_reference(bundle, against, plan.threads)
    of_run = reference.data if reference else None
    inputs = choose_inputs(bundle, data, of_run=of_run, quick=plan.mode == "quick", say=say)
    notes, candidates = [*inputs.notes], candidates_of(bundle, plan.threads, plan.engine_cache)
    if reference is not None:
        notes += reference.notes
        candidates += reference.candidates
    contenders = score_all(candidates, bundle, inputs, notes, say)
    rows: list[Row] = []
    with Telemetry() as telemetry:
        scenarios = Scenarios(contenders=contenders, inputs=inputs, plan=plan, telemetry=telemetry, say=say)
        before = telemetry.snapshot()
        for batch in plan.timed_batches():
            say(f"batch {batch}: candidates in turns ({len(contenders)}), {plan.effort_for(batch).cap_s:g} s each")
            rows += scenarios.timed(batch)
        compare(rows)
        offline = scenarios.offline(rows) if "offline" in plan.scenarios else []
        served = scenarios.server(rows, offline) if "server" in plan.scenarios else []
        folders: list[Row] = []
        if "folder" in plan.scenarios and bundle.manifest.task == "classify":
            folders = scenarios.folder()
        elif "folder" in plan.scenarios:
            notes.append("no end-to-end row: `classify` takes classifiers only")
        after = telemetry.snapshot()
    if plan.mode == "strict":
        mark_valid([*rows, *offline])
    slowed = throttled(before, after)
    return session.document(
        "benchmark",
        SCHEMA,
        telemetry={"before": before, "after": after, "throttled": slowed},
        bundle={
            "name": bundle.folder.resolve().name,
            "sha256": bundle.sha256,
            "task": bundle.manifest.task,
            "model": bundle.manifest.model,
            "contract_sha256": bundle.manifest.contract.sha256,
        },
        against=reference and reference.about,
        data={**inputs.about, "line": inputs.line()},
        settings={
            "batches": list(plan.batches),
            "threads": plan.threads,
            "mode": plan.mode,
            "scenarios": list(plan.scenarios),
            "server_bound_ms": plan.bound_ms,
            "effort": {str(batch): dataclasses.asdict(plan.effort_for(batch)) for batch in plan.timed_batches()},
        },
        rows=rows,
        offline=offline,
        server=served,
        end_to_end=folders,
        notes=[*notes, *slowed],
    )
