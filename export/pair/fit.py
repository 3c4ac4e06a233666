"""Where a pair's U-Net looks, and the lesion rule over both networks, fitted on slices whose truth is known.

    temperature     the classifier's, as of any (`export.confidence`)
    no_liver_below  the lowest bound on its odds of no liver that leaves the U-Net MOST_LOST of the slices with a lesion
                    unseen at most, and never below even odds: where the classifier says liver, the U-Net looks
    lesion rule     logistic regression on ln(p2 / (p0 + p1)) and ln(1 + tumour pixels): three numbers

A few patients cannot carry more numbers than that. Neither network may speak against itself: a slope that came out
negative is 0. Where the U-Net would not look, the rule is fitted without its pixels, as it will be used. Thresholds
and promises are those of any rule (`export.thresholds`, `export.promise`), and in nested folds all of the above is
fitted anew with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from export.confidence import AbstainRule, fit_abstain, fit_temperature
from export.operating_points import RULES, marked, thresholds_of, with_promises
from export.pair.evidence import PairEvidence
from export.promise import Bools
from export.thresholds import threshold_of
from lits_deploy.fusion import TUMOUR, UNSEEN, Fusion, lesion_log_odds, no_liver_log_odds
from lits_deploy.pipeline.decide import PairDecider, both_probabilities

MOST_LOST = 0.01
"""Of the slices with a lesion, the share that the U-Net need not see."""

RIDGE = 1e-3
"""Penalty on squared slopes, of standardised features and the mean log likelihood: some slices can be parted wholly."""

STEPS, SMALLEST = 100, 1e-10

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FittedPair:
    """What was fitted on some slices. thresholds: odds by rule, None for argmax."""

    fusion: Fusion
    abstain: AbstainRule
    thresholds: dict[str, float | None]

    def marks(self, logits: Logits, counts: Whole) -> dict[str, Bools]:
        """Which slices each rule gives class 2, bool [N] by rule. counts: [N, 2], of every slice."""
        decider = partial(PairDecider, fusion=self.fusion, abstain_below=self.abstain.threshold)
        return marked(self.thresholds, decider, logits, as_seen(self.fusion, logits, counts))


def as_seen(fusion: Fusion, logits: Logits, counts: Whole) -> Whole:
    """The counts as a pair has them: those of slices that its U-Net does not look at are not there."""
    return np.where(fusion.looks(logits)[:, None], counts, UNSEEN)


def fit(target: Whole, logits: Logits, counts: Whole, rules: Sequence[str] = RULES) -> FittedPair:
    """Everything, on these slices. target: int64 [N]; logits: float32 [N, 3]; counts: int64 [N, 2]. DataError where
    there is too little."""
    fusion = fit_fusion(target, logits, counts)
    odds = fusion.log_odds(logits, as_seen(fusion, logits, counts))
    return FittedPair(
        fusion=fusion,
        abstain=fit_abstain(target, both_probabilities(logits, fusion.temperature, odds)),
        thresholds=thresholds_of(rules, target == 2, odds),
    )


def fit_fusion(target: Whole, logits: Logits, counts: Whole) -> Fusion:
    """Temperature, bound and lesion rule."""
    temperature = fit_temperature(target, logits)
    bound = -threshold_of(f"sensitivity={1 - MOST_LOST}", target == 2, -no_liver_log_odds(logits, temperature))
    looking = Fusion(
        segmenter="fp32",
        temperature=temperature,
        no_liver_below=float(np.exp(max(bound, 0.0))),
        intercept=0.0,
        classifier=1.0,
        tumour=0.0,
    )
    tumour = np.log1p(np.maximum(as_seen(looking, logits, counts)[:, TUMOUR], 0))
    features = np.column_stack([lesion_log_odds(logits, temperature), tumour])
    intercept, classifier, of_tumour = logistic(features, target == 2)
    return replace(looking, intercept=intercept, classifier=classifier, tumour=of_tumour)


def logistic(features: Floats, positive: Bools) -> list[float]:
    """Intercept and slopes ≥ 0 of the likeliest logistic regression, with a penalty of RIDGE. features: [N, K].

    Newton's method on standardised features, deterministic. A slope below 0 is taken out and the rest fitted again.
    """
    used = list(range(features.shape[1]))
    while True:
        intercept, slopes = _newton(features[:, used], positive)
        lowest = int(slopes.argmin()) if used else 0
        if not used or slopes[lowest] >= 0:
            found = np.zeros(features.shape[1])
            found[used] = slopes
            return [float(intercept), *map(float, found)]
        del used[lowest]


def _newton(features: Floats, positive: Bools) -> tuple[float, Floats]:
    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    x = np.column_stack([np.ones(len(features)), (features - centre) / spread])
    y, penalty = positive.astype(np.float64), np.diag([0.0, *[RIDGE] * features.shape[1]])

    def loss(w: Floats) -> float:
        z = x @ w
        return float(np.logaddexp(0.0, z).mean() - (y * z).mean() + w @ penalty @ w / 2)

    w = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = np.exp(-np.logaddexp(0.0, -(x @ w)))
        gradient = x.T @ (p - y) / len(y) + penalty @ w
        curvature = (x * (p * (1 - p))[:, None]).T @ x / len(y) + penalty + 1e-12 * np.eye(len(w))
        step = np.linalg.solve(curvature, gradient)
        share = 1.0
        while loss(w - share * step) > loss(w) and share > SMALLEST:
            share /= 2
        w = w - share * step
        if np.abs(share * step).max() < SMALLEST:
            break
    slopes = w[1:] / spread
    return float(w[0] - slopes @ centre), slopes


def points_of(evidence: PairEvidence, fitted: FittedPair) -> tuple[dict[str, Any], ...]:
    """Each rule of `fitted`, which was fitted on all of the evidence, as `OperatingPoint.from_json` reads it."""
    rules = tuple(fitted.thresholds)

    def mark(on: Bools) -> dict[str, Bools]:
        part = fit(evidence.target[on], evidence.logits[on], evidence.counts[on], rules)
        return part.marks(evidence.logits, evidence.counts)

    return with_promises(evidence, fitted.thresholds, mark)
