"""What a benchmark measures and how long, after MLPerf Inference, in three degrees of effort; and the rows of it.

single-stream   one slice at a time, all candidates in turns
batch           the other batch sizes, likewise
offline         all slices at hand, at each candidate's fastest batch size
server          slices arrive at random; highest rate within a latency bound
folder          files to table, through the whole pipeline

A candidate that fails has a row with the reason, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import folder, server
from benchmarks.cold import cold_start
from benchmarks.contenders import Contender, Row
from benchmarks.inputs import Inputs
from benchmarks.latency import FULL, QUICK, STEADY, Lane, MeasuringEffort, SliceFeed, measure, strict_for
from benchmarks.percentiles import UNSTEADY, needed_samples
from benchmarks.telemetry import Telemetry
from lits_deploy.errors import LitsError, UserError

SCENARIOS = ("single-stream", "batch", "offline", "server", "folder")

SERVER_BOUND_MS = 100.0
"""Default bound of the server scenario: what feels immediate to a person (Nielsen 1993)."""

OFFLINE_S = {"quick": 2.0, "full": 15.0, "strict": 60.0}
SERVER_EFFORT = {"quick": server.SERVER_QUICK, "full": server.SERVER_FULL, "strict": server.SERVER_STRICT}

ENOUGH_ACCURACY = 0.99
"""Share of the reference's accuracy below which a row gets a note (MLPerf's limit for a valid speed)."""

_UNTIMED = ("latency_ms", "slices_per_second", "timed_s", "blocks", "energy", "windows")
UNTIMED: Row = {**dict.fromkeys(_UNTIMED), "distribution_ms": []}
"""What a row that failed has in place of `Lane.result`."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure and how long. mode: `quick`, `full` or `strict`; effort: in place of the mode's, for tests.

    scenarios: of SCENARIOS. bound_ms: of the server scenario. threads: for every candidate. engine_cache: as in
    `runtime.open_runtime`.
    """

    batches: Sequence[int] = (1, 8, 32)
    threads: int = 0
    mode: str = "full"
    scenarios: Sequence[str] = SCENARIOS
    bound_ms: float = SERVER_BOUND_MS
    effort: MeasuringEffort | None = None
    engine_cache: Path | None = None

    def __post_init__(self) -> None:
        if unknown := [name for name in self.scenarios if name not in SCENARIOS]:
            raise UserError(f"`{', '.join(unknown)}` is not a scenario.", fix=f"use {', '.join(SCENARIOS)}")
        if self.bound_ms <= 0:
            raise UserError("The server's bound must be more than 0 ms.", fix="--server-p99 100")

    def effort_for(self, batch: int) -> MeasuringEffort:
        """How long to time a row of that batch size."""
        if self.effort is not None:
            return self.effort
        return strict_for(batch) if self.mode == "strict" else QUICK if self.mode == "quick" else FULL

    def timed_batches(self) -> list[int]:
        """Batch sizes of the timed rows: 1 is the single stream; offline and server must know which is fastest."""
        rest = {"batch", "offline", "server"} & set(self.scenarios)
        return [batch for batch in self.batches if (batch == 1 and "single-stream" in self.scenarios) or rest]


def batch_sizes(text: str) -> tuple[int, ...]:
    """`1,8` → (1, 8), each once. Raises UserError for what are no batch sizes."""
    try:
        batches = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        batches = ()
    if not batches or min(batches) < 1:
        raise UserError(f"`{text}` are no batch sizes.", fix="--batch-sizes 1,8,32")
    return batches


@dataclass(frozen=True, kw_only=True)
class Scenarios:
    """What is measured, on which slices, and how. say: gets a line before each step."""

    contenders: list[Contender]
    inputs: Inputs
    plan: Plan
    telemetry: Telemetry
    say: Callable[[str], None]

    def timed(self, batch: int) -> list[Row]:
        """The rows of one batch size: cold starts one by one, then all in turns."""
        rows: list[Row] = []
        lanes: list[tuple[Row, Lane]] = []
        scenario = "single-stream" if batch == 1 else "batch"
        with ExitStack() as stack:
            for contender in self.contenders:
                candidate, threads = contender.candidate, self.plan.threads
                row = contender.row(scenario=scenario, batch=batch, threads=threads, cold=None, speedup=None)
                rows.append(row)
                try:
                    row["cold"] = cold_start(candidate, batch)
                    runtime = stack.enter_context(candidate.open(batch))
                except LitsError as error:
                    row |= {"error": str(error), **UNTIMED}
                    continue
                meter = self.telemetry.meter(candidate.device)
                lanes.append((row, Lane(candidate.name, runtime, contender.scored.mismatch, meter=meter)))
            feed = SliceFeed(self.inputs.slices, batch)
            measure([lane for _, lane in lanes], feed, batch, self.plan.effort_for(batch))
        for row, lane in lanes:
            row |= {"error": lane.error, **UNTIMED} if lane.error is not None else lane.result(batch)
            cv = row["latency_ms"] and row["latency_ms"]["cv"]
            if cv is not None and cv > UNSTEADY:
                row["notes"].append(f"unsteady: latencies vary by {100 * cv:.1f} % (coefficient of variation)")
        return rows

    def offline(self, timed: Sequence[Row]) -> list[Row]:
        """Everything at hand, at the batch size that was fastest before."""

        def measured(contender: Contender, fastest: Row) -> Row:
            batch, candidate = fastest["batch"], contender.candidate
            self.say(f"offline: {candidate.name}, batch {batch}")
            with candidate.open(batch) as runtime:
                return server.offline(
                    runtime,
                    SliceFeed(self.inputs.slices, batch),
                    contender.scored.mismatch,
                    batch=batch,
                    least_s=OFFLINE_S[self.plan.mode],
                    meter=self.telemetry.meter(candidate.device),
                )

        return self._rows("offline", measured, self._fastest(timed))

    def server(self, timed: Sequence[Row], offline_rows: Sequence[Row]) -> list[Row]:
        """Up to the offline rate, where that was measured, in batches of at most its size."""

        def measured(contender: Contender, fastest: Row) -> Row:
            batch, bound_ms = fastest["batch"], self.plan.bound_ms
            self.say(f"server: {contender.candidate.name}, 99 % within {bound_ms:g} ms")
            with contender.candidate.open(batch) as runtime:
                found = server.highest_rate(
                    runtime,
                    SliceFeed(self.inputs.slices, batch),
                    contender.scored.mismatch,
                    bound_ms=bound_ms,
                    most_rate=fastest["slices_per_second"],
                    effort=SERVER_EFFORT[self.plan.mode],
                )
            queries, enough = (found["latency_ms"] or {}).get("samples"), needed_samples(99)
            few = queries is not None and queries < enough
            notes = [f"{queries} queries are too few for a p99; it takes {enough}"] if few else []
            return {"batch": batch, **found, "notes": notes}

        return self._rows("server", measured, self._fastest(offline_rows, timed))

    def folder(self) -> list[Row]:
        """Files to table through the whole pipeline, for every candidate but the original."""

        def measured(contender: Contender, _: Row) -> Row:
            self.say(f"folder: {contender.candidate.name}, {len(self.inputs.slices)} files")
            return folder.end_to_end(self.inputs, contender.scored, contender.candidate.spec)

        return self._rows("folder", measured, [(c, {}) for c in self.contenders if not c.candidate.original])

    def _fastest(self, *before: Sequence[Row]) -> Iterator[tuple[Contender, Row]]:
        """Contenders with their row of the highest rate, of the first list in which they have one."""
        for contender in self.contenders:
            for rows in before:
                own = [row for row in rows if key_of(row) == contender.candidate.key and not row["error"]]
                if own:
                    yield contender, max(own, key=lambda row: row["slices_per_second"])
                    break

    def _rows(
        self, scenario: str, measured: Callable[[Contender, Row], Row], of: Iterable[tuple[Contender, Row]]
    ) -> list[Row]:
        """A row for each: what `measured` makes of a contender and its row before, or why it failed."""
        found = []
        for contender, before in of:
            row = contender.row(scenario=scenario, threads=self.plan.threads)
            try:
                row |= measured(contender, before)
            except LitsError as error:
                row["error"] = str(error)
            found.append(row)
        return found


def key_of(row: Row) -> tuple[str, str, str]:
    """Of its candidate."""
    return row["runtime"], row["device"], row["artifact"]


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


def mark_valid(rows: list[Row]) -> None:
    """`valid` and why not, by the rules of --strict: thirds of the calls within 10 %, samples enough."""
    for row in rows:
        if row["error"] is not None:
            continue
        spread = (row["windows"] or {}).get("spread")
        if spread is None or spread > STEADY:
            share = "unknown" if spread is None else f"{100 * spread:.1f} %"
            row["notes"].append(f"NOT VALID: rates of the three windows spread by {share} (≤ {100 * STEADY:.0f} %)")
        row["valid"] = spread is not None and spread <= STEADY
