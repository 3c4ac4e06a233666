"""FP32 against INT8 of one bundle on this processor: ONNX Runtime and OpenVINO side by side, with their accuracy.

    python -m benchmarks.int8_cpu BUNDLE --data DATA [--batch 1,8] [--threads N] [--quick] [--out FILE.json]

Every artifact of precision fp32 and int8 on every CPU runtime it is placed for, all open at once and timed in turns by
the rules of README.md (`latency.measure`): distinct slices of the validate split, no outlier dropped, outputs of every
timed call held against the scored ones. Speed-ups are ratios within one round, because a round is short against the
machine's drift; the table gives their median and their range. The record goes to results/int8-cpu-<machine>.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.accuracy import Scored, score
from benchmarks.candidates import Candidate, candidates_of
from benchmarks.inputs import MOST, QUICK_SLICES, Inputs, from_layout
from benchmarks.latency import FULL, QUICK, Effort, Feed, Lane, measure
from benchmarks.machine import busy_notes, describe_machine, processor_ticks, stolen_share
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, UserError
from lits_deploy.files import write_json
from lits_deploy.machine import cores
from lits_deploy.packed import open_bundle
from lits_deploy.printable import say
from lits_deploy.program import run_program

SCHEMA = 1
SPLIT = "validate"
SCORING_BATCH = 8
AIM = 1.3
"""INT8 over FP32 on the same runtime, batch 1."""

RESULTS = Path(__file__).with_name("results")

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Contender:
    """A candidate with its answers to all slices and the library's version."""

    candidate: Candidate
    scored: Scored
    version: str


def compare(
    bundle: Bundle, data: Path, *, batches: tuple[int, ...], threads: int = 0, effort: Effort = FULL, most: int = MOST
) -> dict[str, Any]:
    """The document that is written. Raises BundleError where there is nothing to compare, DataError for the data."""
    machine, ticks, threads = describe_machine(), processor_ticks(), threads or cores()
    if bundle.manifest.task != "classify":
        raise BundleError(f"{bundle.folder} segments; this compares classifiers.", fix="export a classifier")
    inputs = from_layout(bundle, data, most, SPLIT)
    chosen = [c for c in candidates_of(bundle, threads) if c.device == "cpu" and c.precision in ("fp32", "int8")]
    if {c.precision for c in chosen} != {"fp32", "int8"}:
        raise BundleError(
            f"{bundle.folder} has no INT8 file for a CPU runtime here.", fix="lits-deploy export RUN --int8"
        )
    contenders = [_score(candidate, inputs) for candidate in chosen]
    rows = [row for batch in batches for row in _time(contenders, bundle, inputs, batch, effort)]
    machine["stolen_share"] = stolen_share(ticks, processor_ticks())
    return {
        "schema": SCHEMA, "disclaimer": DISCLAIMER, "machine": machine,
        "bundle": {"name": bundle.folder.resolve().name, "sha256": bundle.sha256, "model": bundle.manifest.model},
        "data": {**inputs.about, "line": inputs.line()},
        "settings": {"batches": list(batches), "threads": threads, "effort": dataclasses.asdict(effort), "aim": AIM},
        "rows": rows, "notes": [*inputs.notes, *busy_notes(machine, machine["stolen_share"])],
    }  # fmt: skip


def _score(candidate: Candidate, inputs: Inputs) -> Contender:
    with candidate.open(SCORING_BATCH, ("probabilities",)) as runtime:
        scored = score(runtime, inputs.slices, task="classify", tolerance=candidate.tolerance)
        return Contender(candidate, scored, runtime.describe().version)


def _time(contenders: list[Contender], bundle: Bundle, inputs: Inputs, batch: int, effort: Effort) -> list[Row]:
    """The rows of one batch size, with ratios to FP32 on the same runtime and to FP32 on ONNX Runtime."""
    with ExitStack() as stack:
        lanes = [
            Lane(c.candidate.name, stack.enter_context(c.candidate.open(batch)), c.scored.mismatch) for c in contenders
        ]
        measure(lanes, Feed(inputs.slices, batch), batch, effort)
    paces = [round_medians(lane) for lane in lanes]
    rows = []
    for contender, lane, pace in zip(contenders, lanes, paces, strict=True):
        candidate, gate = contender.candidate, bundle.artifact(contender.candidate.artifact).gate
        figures = contender.scored.figures(inputs) or {}
        row: Row = {
            "runtime": candidate.runtime, "version": contender.version, "artifact": candidate.artifact,
            "precision": candidate.precision, "batch": batch, "size_mb": candidate.size_bytes / 1e6,
            "error": lane.error, **lane.result(batch), "gate": _gate(gate, candidate.runtime),
            "accuracy": figures.get("accuracy"), "balanced_accuracy": figures.get("balanced_accuracy"), "speedup": {},
        }  # fmt: skip
        for other, of_other, pace_of_other in zip(contenders, lanes, paces, strict=True):
            peer = other.candidate
            fits = peer.precision == "fp32" and peer.runtime in (candidate.runtime, "onnxruntime")
            if fits and peer is not candidate and lane.error is None and of_other.error is None:
                ratios = [theirs / ours for theirs, ours in zip(pace_of_other, pace, strict=False)]
                row["speedup"][peer.runtime] = {"median": median(ratios), "low": min(ratios), "high": max(ratios)}
        rows.append(row)
    return rows


def round_medians(lane: Lane) -> list[float]:
    """The median latency of each round's block, in seconds."""
    found, start = [], 0
    for calls in lane.blocks:
        found.append(median(lane.seconds[start : start + calls]))
        start += calls
    return found


def _gate(gate: dict[str, Any], runtime: str) -> str:
    """What export's gate said of the artifact on that runtime."""
    if not gate:
        return "original"
    figures = gate["runtimes"].get(runtime)
    return "not judged there" if figures is None else "passed" if figures["passed"] else "FAILED"


def lines(document: dict[str, Any]) -> list[str]:
    """The table, the verdict on the aim, and what a reader must know."""
    head = f"{'batch':>5} {'runtime':12} {'artifact':9} {'p50 ms':>8} {'slices/s':>8} {'of own FP32':>18}"
    found = [document["data"]["line"], f"{head} {'of ORT FP32':>18} {'accuracy':>8} {'gate':>10}"]
    for row in document["rows"]:
        if row["error"] is not None:
            found.append(f"{row['batch']:5d} {row['runtime']:12} {row['artifact']:9} error: {row['error']}")
            continue
        own, ort = (_ratio(row["speedup"].get(name)) for name in (row["runtime"], "onnxruntime"))
        accuracy, p50 = (
            "–" if value is None else f"{value:.{digits}f}"  # a median takes eleven calls
            for value, digits in ((row["accuracy"], 4), (row["latency_ms"]["p50"], 2))
        )
        found.append(
            f"{row['batch']:5d} {row['runtime']:12} {row['artifact']:9} {p50:>8} "
            f"{row['slices_per_second']:8.1f} {own:>18} {ort:>18} {accuracy:>8} {row['gate']:>10}"
        )
    for row in document["rows"]:
        own = row["speedup"].get(row["runtime"])
        if row["precision"] == "int8" and row["batch"] == 1 and own is not None:
            met = own["median"] >= AIM and row["gate"] == "passed"
            found.append(
                f"{row['artifact']} on {row['runtime']}, batch 1: {own['median']:.2f} times its FP32 "
                f"(aim {AIM}), gate {row['gate']}: {'met' if met else 'NOT met'}"
            )
    return [*found, *(f"- {note}" for note in document["notes"])]


def _ratio(speedup: dict[str, float] | None) -> str:
    return "" if speedup is None else f"{speedup['median']:.2f} ({speedup['low']:.2f}…{speedup['high']:.2f})"


def default_out(machine: dict[str, Any]) -> Path:
    """results/int8-cpu-2core-amd-epyc.json, by cores and processor."""
    slug = re.sub(r"[^a-z0-9]+", "-", str(machine["processor"]).lower()).strip("-")[:40]
    return RESULTS / f"int8-cpu-{machine['cores']}core-{slug}.json"


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0 done, 1 a row is an error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.int8_cpu", description=__doc__.partition("\n")[0])
    parser.add_argument("bundle", type=Path, help="with an INT8 file for CPUs (export --int8)")
    parser.add_argument("--data", type=Path, required=True, help="data set whose validate split is used")
    parser.add_argument("--batch", default="1,8", metavar="N,N")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="of every candidate; 0: every core")
    parser.add_argument("--quick", action="store_true", help="about two seconds a row and fewer slices: only a try")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="[default: in benchmarks/results]")
    given = parser.parse_args(arguments)
    try:
        batches = tuple(int(part) for part in given.batch.split(","))
    except ValueError as error:
        raise UserError(f"`{given.batch}` are no batch sizes.", fix="--batch 1,8") from error
    effort, most = (QUICK, QUICK_SLICES) if given.quick else (FULL, MOST)
    opened = open_bundle(given.bundle)
    document = compare(opened, given.data, batches=batches, threads=given.threads, effort=effort, most=most)
    say(*lines(document))
    out = given.out or default_out(document["machine"])
    write_json(out, document)
    say(f"wrote {out}", DISCLAIMER)
    return 1 if any(row["error"] for row in document["rows"]) else 0


if __name__ == "__main__":
    run_program(main)
