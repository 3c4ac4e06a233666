"""Original and artifacts over the same slices, once: every slice goes through PyTorch a single time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from export.gate.comparison import Comparison, Flip
from export.gate.limits import Limits
from export.held_out import HeldOut
from export.parity import original_probabilities
from lits_deploy.runtime import Runtime

_BATCH = {"classify": 8, "segment": 2}


def judge_batch(task: str) -> int:
    """Slices at once: a U-Net's probabilities are 786 kB a slice, for each candidate."""
    return _BATCH[task]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An artifact, open on a runtime that returns probabilities. place: the runtime as the reports call it."""

    artifact: str
    precision: str
    place: str
    runtime: Runtime


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One artifact on one runtime: figures, the limits they were held against, and which of them they break."""

    artifact: str
    precision: str
    place: str
    figures: dict[str, Any]
    limits: Limits
    failures: tuple[str, ...]
    flips: tuple[Flip, ...]

    @property
    def passed(self) -> bool:
        """True where no limit is broken."""
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        """For the manifest: no names of slices, no pixels."""
        return {**self.figures, "passed": self.passed, "failures": list(self.failures)}


def judge(
    held: HeldOut,
    candidates: Sequence[Candidate],
    limits: Mapping[str, Limits],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Verdict]:
    """Verdicts in the order of the candidates. limits: by precision."""
    task, slices = held.original.info.task, held.judged()
    comparisons = [Comparison(task) for _ in candidates]
    size = min([judge_batch(task), *(candidate.runtime.max_batch for candidate in candidates)])
    while part := list(islice(slices, size)):
        pictures = np.stack([one.picture for one in part])
        expected = original_probabilities(held.original, pictures)
        for candidate, comparison in zip(candidates, comparisons, strict=True):
            got = candidate.runtime.infer(pictures).probabilities
            assert got is not None
            comparison.add(part, expected, got)
        progress(len(part))
    verdicts = []
    for candidate, comparison in zip(candidates, comparisons, strict=True):
        figures, limit = comparison.figures(), limits[candidate.precision]
        verdicts.append(
            Verdict(
                artifact=candidate.artifact,
                precision=candidate.precision,
                place=candidate.place,
                figures=figures,
                limits=limit,
                failures=tuple(limit.failures(figures)),
                flips=tuple(comparison.flips),
            )
        )
    return verdicts
