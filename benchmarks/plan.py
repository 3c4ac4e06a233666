"""What a benchmark measures and how long: scenarios after MLPerf Inference, and three degrees of effort.

single-stream   one slice at a time, all candidates in turns
batch           the other batch sizes, likewise
offline         all slices at hand, at each candidate's fastest batch size
server          slices arrive at random; highest rate within a latency bound
folder          files to table, through the whole pipeline
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import server
from benchmarks.latency import FULL, QUICK, Effort, strict_for
from lits_deploy.errors import UserError

SCENARIOS = ("single-stream", "batch", "offline", "server", "folder")

SERVER_BOUND_MS = 100.0
"""Default bound of the server scenario: what feels immediate to a person (Nielsen 1993)."""

OFFLINE_S = {"quick": 2.0, "full": 15.0, "strict": 60.0}
SERVER_EFFORT = {"quick": server.SERVER_QUICK, "full": server.SERVER_FULL, "strict": server.SERVER_STRICT}


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
    effort: Effort | None = None
    engine_cache: Path | None = None

    def __post_init__(self) -> None:
        if unknown := [name for name in self.scenarios if name not in SCENARIOS]:
            raise UserError(f"`{', '.join(unknown)}` is no scenario.", fix=f"use {', '.join(SCENARIOS)}")
        if self.bound_ms <= 0:
            raise UserError("The server's bound must be more than 0 ms.", fix="--server-p99 100")

    def effort_for(self, batch: int) -> Effort:
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
        raise UserError(f"`{text}` are no batch sizes.", fix="--batch 1,8,32")
    return batches
