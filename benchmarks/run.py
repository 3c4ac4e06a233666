"""The whole benchmark: score everything, start everything cold, time everything in turns, run the folder; one document.

The document is what benchmark.json holds; tables, CSV and plot are drawn from it alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import folder
from benchmarks.accuracy import Scored, golden_agreement, headline, score
from benchmarks.candidates import Candidate, candidates_of
from benchmarks.cold import cold_start
from benchmarks.fresh import ChildError
from benchmarks.inputs import Inputs, choose_inputs
from benchmarks.latency import FULL, QUICK, Effort, Feed, Lane, measure
from benchmarks.machine import busy_notes, describe_machine, processor_ticks, stolen_share
from benchmarks.percentiles import UNSTEADY
from benchmarks.reference import Reference, open_reference
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from lits_deploy.errors import DeviceError, LitsError, MissingExtra, UserError
from lits_deploy.pipeline.tuning import cores
from lits_deploy.verify import read_golden

SCHEMA = 1

SCORING_BATCH = 8
"""Slices in a batch of the accuracy run; a U-Net's probabilities take 786 kB a slice."""

ENOUGH_ACCURACY = 0.99
"""Share of the reference's accuracy below which a row gets a note (MLPerf's limit for a valid speed)."""

Row = dict[str, Any]


@dataclass
class Contender:
    """A candidate that runs here, with its answers and figures. version: of the library; providers: really in use."""

    candidate: Candidate
    scored: Scored
    figures: dict[str, Any] | None
    same: dict[str, Any] | None
    version: str
    providers: tuple[str, ...]

    def row(self, **values: Any) -> Row:
        """The columns that all rows share, and `values`."""
        candidate = self.candidate
        return {
            "runtime": candidate.runtime, "version": self.version, "device": candidate.device,
            "providers": list(self.providers), "artifact": candidate.artifact, "original": candidate.original,
            "precision": candidate.precision, "size_mb": candidate.size_bytes / 1e6, "figures": self.figures,
            "accuracy": headline(self.figures), "same_class": self.same, "error": None, "notes": [], **values,
        }  # fmt: skip


def benchmark(
    bundle: Bundle,
    *,
    against: Path | None = None,
    data: Path | None = None,
    batches: Sequence[int] = (1, 8, 32),
    threads: int = 0,
    quick: bool = False,
    effort: Effort | None = None,
    engine_cache: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure a bundle here; see `run` and README.md of this folder for the rules.

    against: a training run to compare with, in PyTorch eager mode. threads: for every candidate; 0 takes every core.
    quick: about two seconds a row and at most 96 slices. engine_cache: as in `runtime.open_runtime`. Raises UserError
    for what the user can mend, among them MissingExtra where `against` needs PyTorch.
    """
    machine, ticks = describe_machine(), processor_ticks()
    threads, effort = threads or cores(), effort or (QUICK if quick else FULL)
    reference = None if against is None else open_reference(bundle, against, threads)
    inputs = choose_inputs(bundle, data, of_run=None if reference is None else reference.data, quick=quick, say=say)
    notes = [*inputs.notes, *([] if reference is None else reference.notes)]
    originals = [] if reference is None else reference.candidates
    contenders = _score(
        [*candidates_of(bundle, threads, engine_cache), *originals], bundle, inputs, reference, notes, say
    )
    rows: list[Row] = []
    for batch in batches:
        say(f"batch {batch}: candidates in turns ({len(contenders)}), up to {effort.cap_s:g} s each")
        rows += _time(contenders, inputs, batch, threads, effort)
    _compare(rows)
    folder_rows = _end_to_end(contenders, bundle, inputs, threads, notes, say, engine_cache)
    machine["stolen_share"] = stolen_share(ticks, processor_ticks())
    notes += busy_notes(machine, machine["stolen_share"])
    return {
        "schema": SCHEMA,
        "disclaimer": DISCLAIMER,
        "machine": machine,
        "bundle": {
            "name": bundle.folder.resolve().name, "sha256": bundle.sha256, "task": bundle.manifest.task,
            "model": bundle.manifest.model, "contract_sha256": bundle.manifest.contract.sha256,
        },
        "against": None if reference is None else reference.describe(),
        "data": {**inputs.about, "line": inputs.line()},
        "settings": {
            "batches": list(batches), "threads": threads, "quick": quick, "effort": dataclasses.asdict(effort),
            "interleaved": True,
        },
        "rows": rows,
        "end_to_end": folder_rows,
        "notes": notes,
    }  # fmt: skip


def _score(
    candidates: list[Candidate], bundle: Bundle, inputs: Inputs, reference: Reference | None, notes: list[str],
    say: Callable[[str], None],
) -> list[Contender]:  # fmt: skip
    """Accuracy and agreement of each; what is not there is noted and left out."""
    found: list[Contender] = []
    golden = read_golden(bundle)
    for candidate in candidates:
        say(f"accuracy: {candidate.name}, {len(inputs.slices)} slices")
        try:
            with candidate.open(SCORING_BATCH, ("probabilities",)) as runtime:
                scored = score(runtime, inputs.slices, task=bundle.manifest.task, tolerance=candidate.tolerance)
                same = (
                    None if reference else _same(golden_agreement(runtime, *golden), len(golden[0]), bundle, "goldens")
                )
                info = runtime.describe()
        except (DeviceError, MissingExtra) as error:
            notes.append(f"{candidate.name} is not measured: {error}")
            continue
        found.append(
            Contender(
                candidate=candidate, scored=scored, figures=scored.figures(inputs), same=same, version=info.version,
                providers=info.providers,
            )
        )  # fmt: skip
    if not found:
        raise UserError("Nothing of this bundle runs here.", fix=notes[-1] if notes else None)
    original = next((contender for contender in found if contender.candidate.original), None)
    for contender in found if original else []:
        assert original is not None
        contender.same = _same(contender.scored.same_class(original.scored), len(inputs.slices), bundle, "PyTorch")
    return found


def _same(share: float, slices: int, bundle: Bundle, by: str) -> dict[str, Any]:
    """share: of slices, for a U-Net of pixels; by: whom the original's classes come from."""
    unit = "slices" if bundle.manifest.task == "classify" else "pixels"
    return {"share": share, "slices": slices, "unit": unit, "by": by}


def _time(contenders: list[Contender], inputs: Inputs, batch: int, threads: int, effort: Effort) -> list[Row]:
    """The rows of one batch size: cold starts one by one, then all in turns."""
    rows: list[Row] = []
    lanes: dict[int, Lane] = {}
    with ExitStack() as stack:
        for contender in contenders:
            row = contender.row(scenario="model-only", batch=batch, threads=threads, cold=None, speedup=None)
            rows.append(row)
            try:
                row["cold"] = cold_start(contender.candidate, batch, threads=threads)
                runtime = stack.enter_context(contender.candidate.open(batch))
            except LitsError as error:
                row["error"] = str(error)
                continue
            lanes[len(rows) - 1] = Lane(contender.candidate.name, runtime, contender.scored.mismatch)
        measure(list(lanes.values()), Feed(inputs.slices, batch), batch, effort)
    for index, row in enumerate(rows):
        lane = lanes.get(index)
        if lane is None or lane.error is not None:
            row["error"] = row["error"] or (lane.error if lane else None)
            row |= {"latency_ms": None, "slices_per_second": None, "timed_s": None, "blocks": None}
            continue
        row |= lane.result(batch)
        cv = row["latency_ms"]["cv"]
        if cv is not None and cv > UNSTEADY:
            row["notes"].append(f"unsteady: latencies vary by {100 * cv:.1f} % (coefficient of variation)")
    return rows


def _compare(rows: list[Row]) -> None:
    """Speed-ups over the original at the same batch and device, only beside an accuracy; notes where that is lost."""
    best = next((row["accuracy"] for row in rows if row["original"]), None)
    by = "PyTorch" if best is not None else "FP32"
    if best is None:
        best = next((row["accuracy"] for row in rows if row["precision"] == "fp32"), None)
    for row in rows:
        if row["accuracy"] is None or row["error"] is not None:
            continue
        if best and row["accuracy"] < ENOUGH_ACCURACY * best:
            row["notes"].append(f"{100 * row['accuracy'] / best:.1f} % of the accuracy of {by}: its speed is no gain")
        peers = [other for other in rows if other["original"] and other["batch"] == row["batch"] and not other["error"]]
        peer = next((other for other in peers if other["device"] == row["device"]), peers[0] if peers else None)
        if peer is not None:
            row["speedup"] = row["slices_per_second"] / peer["slices_per_second"]


def _end_to_end(
    contenders: list[Contender], bundle: Bundle, inputs: Inputs, threads: int, notes: list[str],
    say: Callable[[str], None], engine_cache: Path | None,
) -> list[Row]:  # fmt: skip
    rows: list[Row] = []
    if bundle.manifest.task != "classify":
        notes.append("no end-to-end row: `classify` takes classifiers only")
        return rows
    for contender in contenders:
        candidate = contender.candidate
        if candidate.original:
            continue
        say(f"end to end: {candidate.name}, {len(inputs.slices)} files")
        row = contender.row(scenario="end-to-end", threads=threads)
        try:
            row |= folder.end_to_end(
                bundle, inputs, contender.scored, threads=threads,
                artifact=candidate.artifact, runtime=candidate.runtime, device=candidate.device,
                engine_cache=engine_cache,
            )  # fmt: skip
        except ChildError as error:
            row["error"] = str(error)
        rows.append(row)
    return rows
