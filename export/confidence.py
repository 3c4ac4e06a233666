"""Whether a probability means what it says: calibration error, temperature scaling, and when to give no answer.

Temperature scaling after Guo et al. 2017 (arXiv 1706.04599): one number that divides the logits. It changes no class.
Knows nothing about where the numbers are kept (`lits_deploy.bundle.Artifact`) or applied (`pipeline.decide`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import DataError

BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of a fitted temperature: beyond them the fit says only that the split is separable, or that it is noise."""

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Slices in equal-width bins of confidence, (low, high]; one entry a bin.

    edges: float64 [bins + 1]; count: int64 [bins]; confidence, accuracy: float64 [bins], means over the bin's slices,
    NaN for an empty bin.
    """

    edges: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """Mean |accuracy − confidence|, weighted by the bins' slices; NaN without slices."""
        total = int(self.count.sum())
        if not total:
            return float("nan")
        return float(np.nansum(np.abs(self.accuracy - self.confidence) * self.count) / total)

    def to_json(self) -> list[dict[str, Any]]:
        """One record a bin: low, high, count, confidence, accuracy (None where the bin is empty)."""
        return [
            {
                "low": float(self.edges[i]),
                "high": float(self.edges[i + 1]),
                "count": int(n),
                "confidence": float(self.confidence[i]) if n else None,
                "accuracy": float(self.accuracy[i]) if n else None,
            }
            for i, n in enumerate(self.count)
        ]


@dataclass(frozen=True, kw_only=True)
class AbstainRule:
    """Under which highest probability a slice gets no class, and what that does to the slices it was chosen on.

    threshold: None where every slice is answered. coverage: share of slices answered. accuracy: of those answered;
    accuracy_all: of all. wanted: the accuracy aimed at; reached: whether the answered slices have it.
    """

    threshold: float | None
    coverage: float
    accuracy: float
    accuracy_all: float
    wanted: float
    most_abstained: float
    reached: bool

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for manifests and reports."""
        return dataclasses.asdict(self)


def negative_log_likelihood(target: npt.ArrayLike, logits: Floats, temperature: float = 1.0) -> float:
    """Mean −ln p(target) in nats, from logits [N, K] over the temperature; NaN without slices."""
    terms = log_likelihood_terms(target, logits, temperature)
    return float(terms.mean()) if len(terms) else float("nan")


def log_likelihood_terms(target: npt.ArrayLike, logits: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """−ln p(target) of each slice, float64 [N], in nats; finite for every finite logit."""
    t = np.asarray(target, dtype=np.int64)
    z = np.asarray(logits, dtype=np.float64) / temperature
    top = z.max(axis=1)
    log_sum = top + np.log(np.exp(z - top[:, np.newaxis]).sum(axis=1))
    terms: npt.NDArray[np.float64] = log_sum - z[np.arange(len(t)), t]
    return terms


def brier_terms(target: npt.ArrayLike, probabilities: Floats) -> npt.NDArray[np.float64]:
    """Σ over the classes of (p − target as one-hot)² of each slice, float64 [N], 0 to 2 (Brier 1950)."""
    t = np.asarray(target, dtype=np.int64)
    p = np.asarray(probabilities, dtype=np.float64)
    terms: npt.NDArray[np.float64] = ((p - np.eye(p.shape[1])[t]) ** 2).sum(axis=1)
    return terms


def bin_of(confidence: npt.ArrayLike, bins: int = BINS) -> npt.NDArray[np.int64]:
    """Index 0…bins−1 of the equal-width bin (low, high] of each probability; 0 falls into the first."""
    inner = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    return np.searchsorted(inner, np.asarray(confidence, dtype=np.float64), side="left").astype(np.int64)


def reliability(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = BINS) -> Reliability:
    """Slices by confidence: how sure the network was, and how often it was right.

    confidence: float [N], 0…1, the probability of what was said; correct: bool [N], whether it was so.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    index = bin_of(sure, bins)
    count = np.bincount(index, minlength=bins)
    means = []
    for values in (sure, right):
        mean: npt.NDArray[np.float64] = np.full(bins, np.nan)
        np.divide(np.bincount(index, weights=values, minlength=bins), count, out=mean, where=count > 0)
        means.append(mean)
    return Reliability(edges=np.linspace(0.0, 1.0, bins + 1), count=count, confidence=means[0], accuracy=means[1])


def expected_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = BINS) -> float:
    """Confidence ECE of Guo et al. 2017: mean |accuracy − confidence| over equal-width bins, weighted by their slices.

    confidence: float [N], the highest probability; correct: bool [N], whether that class is the target. NaN without
    slices. It depends on the bins: compare figures of one number of bins only.
    """
    return reliability(confidence, correct, bins).error


def classwise_calibration_error(target: npt.ArrayLike, probabilities: Floats, bins: int = BINS) -> float:
    """Mean over the classes of the error of that class's probability (Kull et al. 2019, arXiv 1910.12656).

    target: int [N]; probabilities: float [N, K]. Sees what the confidence ECE cannot: a p2 that is wrong where p2 is
    not the highest.
    """
    t = np.asarray(target, dtype=np.int64)
    return float(np.mean([reliability(p, t == k, bins).error for k, p in enumerate(np.asarray(probabilities).T)]))


def fit_temperature(target: npt.ArrayLike, logits: Floats) -> float:
    """The temperature that makes the targets likeliest, between COLDEST and HOTTEST.

    target: int [N]; logits: float [N, K]. The mean negative log-likelihood is convex in 1/T, so its slope is bisected:
    deterministic, to the last bits. A split without a mistake has no minimum and gives COLDEST; logits that say
    nothing give HOTTEST, or 1 where they are all the same. Raises DataError without slices, with fewer than two
    classes among the targets, and for logits that are not finite.
    """
    t, z = np.asarray(target, dtype=np.int64), np.asarray(logits, dtype=np.float64)
    if len(np.unique(t)) < 2:
        raise DataError(
            f"A temperature cannot be fitted on {len(t)} slices of {len(np.unique(t))} class(es).",
            fix="give a split with slices of every class",
        )
    if not np.isfinite(z).all():
        raise DataError("A temperature cannot be fitted: some logits are not finite numbers.", fix="train again")
    return _likeliest(z, np.eye(z.shape[1])[t])


def temperature_towards(probabilities: Floats, logits: Floats) -> float:
    """The temperature at which probabilities [N, K] of logits [N, K] are nearest to these, by cross-entropy.

    Knows no truth: for a network that is to be as sure as another one is.
    """
    return _likeliest(np.asarray(logits, np.float64), np.asarray(probabilities, np.float64))


def _likeliest(z: npt.NDArray[np.float64], shares: npt.NDArray[np.float64]) -> float:
    """Logits [N, K]; shares of the classes that they are to give [N, K]."""
    z = z - z.max(axis=1, keepdims=True)
    wanted = (z * shares).sum(axis=1).mean()

    def slope(inverse: float) -> float:
        """Of the mean negative log-likelihood in 1/T: expected logit less the target's."""
        e = np.exp(z * inverse)
        return float(((e * z).sum(axis=1) / e.sum(axis=1)).mean() - wanted)

    low, high = 1.0 / HOTTEST, 1.0 / COLDEST
    if not z.any():
        return 1.0
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    for _ in range(100):
        middle = (low + high) / 2
        if slope(middle) < 0:
            low = middle
        else:
            high = middle
    return float(np.clip(2.0 / (low + high), COLDEST, HOTTEST))


def fit_abstain(
    target: npt.ArrayLike, probabilities: Floats, *, wanted_accuracy: float = 0.95, most_abstained: float = 0.10
) -> AbstainRule:
    """The lowest threshold on the highest probability whose answered slices reach the wanted accuracy.

    target: int [N]; probabilities: float [N, K], calibrated. At most the share `most_abstained` of the slices goes
    unanswered. Where the wanted accuracy cannot be reached so, the threshold of the best accuracy within that share;
    None where answering every slice is enough, or as good. The threshold lies midway between two slices, so that the
    rounding of another runtime does not move a slice across it. Raises DataError without slices.
    """
    t, p = np.asarray(target, dtype=np.int64), np.asarray(probabilities, dtype=np.float32)
    if not len(t):
        raise DataError("An abstain threshold cannot be fitted on no slices.", fix="give a split with slices")
    order = np.argsort(p.max(axis=1), kind="stable")
    sure, right = p.max(axis=1)[order], (p.argmax(axis=1) == t)[order]
    # accuracy[k]: of the slices left when the k least sure are not answered
    kept = np.arange(len(t), 0, -1)
    accuracy = right[::-1].cumsum()[::-1] / kept
    allowed = np.arange(len(t)) <= most_abstained * len(t) + 1e-9
    allowed[1:] &= sure[1:] > sure[:-1]  # slices of one confidence go together
    candidates = np.flatnonzero(allowed)
    reached = candidates[accuracy[candidates] >= wanted_accuracy]
    dropped = int(reached[0]) if len(reached) else int(candidates[accuracy[candidates].argmax()])
    return AbstainRule(
        threshold=_between(sure[dropped - 1], sure[dropped]) if dropped else None,
        coverage=float(kept[dropped] / len(t)),
        accuracy=float(accuracy[dropped]),
        accuracy_all=float(accuracy[0]),
        wanted=wanted_accuracy,
        most_abstained=most_abstained,
        reached=bool(len(reached)),
    )


def _between(below: np.float32, above: np.float32) -> float:
    """A number over `below` and not over `above`, also after rounding to float32."""
    middle = np.float32((float(below) + float(above)) / 2)
    return float(middle if below < middle else above)
