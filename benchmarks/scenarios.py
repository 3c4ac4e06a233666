"""The rows of each scenario: a candidate that fails has a row with the reason, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from benchmarks import folder, offline, server
from benchmarks.cold import cold_start
from benchmarks.contenders import Contender, Row
from benchmarks.fresh import ChildError
from benchmarks.inputs import Inputs
from benchmarks.latency import STEADY, Feed, Lane, measure
from benchmarks.percentiles import UNSTEADY, needed_samples
from benchmarks.plan import OFFLINE_S, SERVER_EFFORT, Plan
from benchmarks.telemetry import Telemetry
from lits_deploy.bundle import Bundle
from lits_deploy.errors import LitsError

ENOUGH_ACCURACY = 0.99
"""Share of the reference's accuracy below which a row gets a note (MLPerf's limit for a valid speed)."""


def timed_rows(contenders: list[Contender], inputs: Inputs, batch: int, plan: Plan, telemetry: Telemetry) -> list[Row]:
    """The rows of one batch size: cold starts one by one, then all in turns."""
    rows: list[Row] = []
    lanes: dict[int, Lane] = {}
    with ExitStack() as stack:
        for contender in contenders:
            scenario = "single-stream" if batch == 1 else "batch"
            row = contender.row(scenario=scenario, batch=batch, threads=plan.threads, cold=None, speedup=None)
            rows.append(row)
            try:
                row["cold"] = cold_start(contender.candidate, batch, threads=plan.threads)
                runtime = stack.enter_context(contender.candidate.open(batch))
            except LitsError as error:
                row["error"] = str(error)
                continue
            meter = telemetry.meter(contender.candidate.device)
            lanes[len(rows) - 1] = Lane(contender.candidate.name, runtime, contender.scored.mismatch, meter=meter)
        measure(list(lanes.values()), Feed(inputs.slices, batch), batch, plan.effort_for(batch))
    for index, row in enumerate(rows):
        lane = lanes.get(index)
        if lane is None or lane.error is not None:
            row["error"] = row["error"] or (lane.error if lane else None)
            row |= {"latency_ms": None, "slices_per_second": None, "timed_s": None, "blocks": None, "energy": None}
            row |= {"windows": None, "distribution_ms": []}
            continue
        row |= lane.result(batch)
        cv = row["latency_ms"]["cv"]
        if cv is not None and cv > UNSTEADY:
            row["notes"].append(f"unsteady: latencies vary by {100 * cv:.1f} % (coefficient of variation)")
    return rows


def _fastest(contender: Contender, rows: list[Row]) -> Row | None:
    """The contender's row of the highest rate."""
    name = (contender.candidate.runtime, contender.candidate.device, contender.candidate.artifact)
    own = [row for row in rows if (row["runtime"], row["device"], row["artifact"]) == name and not row["error"]]
    return max(own, key=lambda row: row["slices_per_second"], default=None)


def offline_rows(
    contenders: list[Contender], rows: list[Row], inputs: Inputs, plan: Plan, telemetry: Telemetry,
    say: Callable[[str], None],
) -> list[Row]:  # fmt: skip
    """Everything at hand, at the batch size that was fastest in `rows`."""
    found = []
    for contender in contenders:
        fastest = _fastest(contender, rows)
        if fastest is None:
            continue
        say(f"offline: {contender.candidate.name}, batch {fastest['batch']}")
        row = contender.row(scenario="offline", threads=plan.threads)
        try:
            with contender.candidate.open(fastest["batch"]) as runtime:
                row |= offline.offline(
                    runtime, Feed(inputs.slices, fastest["batch"]), contender.scored.mismatch, batch=fastest["batch"],
                    least_s=OFFLINE_S[plan.mode], meter=telemetry.meter(contender.candidate.device),
                )  # fmt: skip
        except LitsError as error:
            row["error"] = str(error)
        found.append(row)
    return found


def server_rows(
    contenders: list[Contender], rows: list[Row], offline_found: list[Row], inputs: Inputs, plan: Plan,
    say: Callable[[str], None],
) -> list[Row]:  # fmt: skip
    """Up to the offline rate, where that was measured, in batches of at most its size."""
    found = []
    for contender in contenders:
        fastest = _fastest(contender, offline_found) or _fastest(contender, rows)
        if fastest is None:
            continue
        say(f"server: {contender.candidate.name}, 99 % within {plan.bound_ms:g} ms")
        row = contender.row(scenario="server", threads=plan.threads, batch=fastest["batch"])
        try:
            with contender.candidate.open(fastest["batch"]) as runtime:
                row |= server.highest_rate(
                    runtime, Feed(inputs.slices, fastest["batch"]), contender.scored.mismatch, bound_ms=plan.bound_ms,
                    most_rate=fastest["slices_per_second"], effort=SERVER_EFFORT[plan.mode],
                )  # fmt: skip
            queries = (row["latency_ms"] or {}).get("samples")
            if queries is not None and queries < needed_samples(99):
                row["notes"].append(f"{queries} queries are too few for a p99; it takes {needed_samples(99)}")
        except LitsError as error:
            row["error"] = str(error)
        found.append(row)
    return found


def folder_rows(
    contenders: list[Contender], bundle: Bundle, inputs: Inputs, plan: Plan, notes: list[str],
    say: Callable[[str], None],
) -> list[Row]:  # fmt: skip
    """Files to table through the whole pipeline, for every candidate but the original."""
    rows: list[Row] = []
    if bundle.manifest.task != "classify":
        notes.append("no end-to-end row: `classify` takes classifiers only")
        return rows
    for contender in contenders:
        candidate = contender.candidate
        if candidate.original:
            continue
        say(f"folder: {candidate.name}, {len(inputs.slices)} files")
        row = contender.row(scenario="folder", threads=plan.threads)
        try:
            row |= folder.end_to_end(
                bundle, inputs, contender.scored, threads=plan.threads,
                artifact=candidate.artifact, runtime=candidate.runtime, device=candidate.device,
                engine_cache=plan.engine_cache,
            )  # fmt: skip
        except ChildError as error:
            row["error"] = str(error)
        rows.append(row)
    return rows


def compare(rows: list[Row]) -> None:
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


def judge(rows: list[Row]) -> None:
    """`valid` and why not, by the rules of --strict: thirds of the calls within 10 %, samples enough."""
    for row in rows:
        if row["error"] is not None:
            continue
        spread = (row["windows"] or {}).get("spread")
        if spread is None or spread > STEADY:
            share = "unknown" if spread is None else f"{100 * spread:.1f} %"
            row["notes"].append(f"NOT VALID: rates of the three windows spread by {share} (≤ {100 * STEADY:.0f} %)")
        row["valid"] = spread is not None and spread <= STEADY
