"""Operating points from evidence: for each rule a threshold set on all of it, and a promise by nested folds.

What a threshold stands on, temperature and abstain threshold, is fitted with it, and anew for each fold. Knows nothing
about files or networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from export.confidence import AbstainRule, fit_abstain, fit_temperature
from export.evidence import Evidence
from export.promise import Bools, nested, promises
from export.thresholds import threshold_of
from lits_deploy.fusion import lesion_log_odds
from lits_deploy.operating_point import ARGMAX, BALANCED, OperatingPoint
from lits_deploy.pipeline.decide import SliceDecider, softmax

RULES = (
    ARGMAX,
    BALANCED,
    *(f"sensitivity={wanted:g}" for wanted in (0.8, 0.85, 0.9, 0.95)),
    *(f"specificity={wanted:g}" for wanted in (0.8, 0.9, 0.95, 0.98)),
)
"""The rules that a bundle has thresholds for, besides the one that was asked for at export."""

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FittedPoints:
    """What was fitted on some slices. thresholds: odds by rule, None for argmax."""

    temperature: float
    abstain: AbstainRule
    thresholds: dict[str, float | None]

    def marks(self, logits: Logits) -> dict[str, Bools]:
        """Which slices each rule gives class 2, bool [N] by rule."""
        decider = partial(SliceDecider, temperature=self.temperature, abstain_below=self.abstain.threshold)
        return marked(self.thresholds, decider, logits)


def fit(target: npt.NDArray[np.int64], logits: Logits, rules: Sequence[str] = RULES) -> FittedPoints:
    """Everything, on these slices. target: int64 [N]; logits: float32 [N, 3]. DataError where there is too little."""
    temperature = fit_temperature(target, logits)
    odds = lesion_log_odds(logits, temperature)
    return FittedPoints(
        temperature=temperature,
        abstain=fit_abstain(target, softmax(logits, temperature)),
        thresholds=thresholds_of(rules, target == 2, odds),
    )


def points_of(evidence: Evidence, fitted: FittedPoints) -> tuple[dict[str, Any], ...]:
    """Each rule of `fitted`, which was fitted on all of the evidence, as `OperatingPoint.from_json` reads it.

    DataError where a fold has no others to set its thresholds on: `uncheckable` says so before.
    """
    rules = tuple(fitted.thresholds)

    def mark(on: Bools) -> dict[str, Bools]:
        return fit(evidence.target[on], evidence.logits[on], rules).marks(evidence.logits)

    return with_promises(evidence, fitted.thresholds, mark)


def thresholds_of(rules: Sequence[str], lesion: Bools, log_odds: npt.NDArray[np.float64]) -> dict[str, float | None]:
    """The threshold of each rule, on odds; None for argmax. lesion, log_odds: [N]. DataError as `threshold_of`."""
    return {rule: None if rule == ARGMAX else float(np.exp(threshold_of(rule, lesion, log_odds))) for rule in rules}


def marked(thresholds: Mapping[str, float | None], decider: Callable[..., Any], *answers: Any) -> dict[str, Bools]:
    """Which slices each rule gives class 2, bool [N] by rule. decider: makes one of a point; answers: what it reads."""
    found = {}
    for rule, threshold in thresholds.items():
        decided = decider(point=OperatingPoint(rule=rule, threshold=threshold)).decide(*answers)
        found[rule] = (decided.labels == 2) & ~decided.unsure
    return found


def with_promises(
    evidence: Evidence, thresholds: Mapping[str, float | None], mark: Callable[[Bools], dict[str, Bools]]
) -> tuple[dict[str, Any], ...]:
    """Each rule with threshold and promise, as `OperatingPoint.from_json` reads it. mark: as in `promise.nested`."""
    found = promises(nested(evidence.groups, mark), evidence.lesion, evidence.of_patient)
    return tuple({"rule": rule, "threshold": threshold, **found[rule]} for rule, threshold in thresholds.items())


def uncheckable(evidence: Evidence) -> str | None:
    """Why no threshold can be set on other patients than those it is checked on, or None."""
    for group in np.unique(evidence.groups):
        rest = evidence.target[evidence.groups != group]
        if not (rest == 2).any() or not (rest != 2).any():
            return "without one group of patients there are no slices with a lesion, or no others"
    return None
