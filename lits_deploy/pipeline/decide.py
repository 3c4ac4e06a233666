"""From a network's output to a slice's answer.

A classifier's logits become calibrated probabilities, a class by the operating point (`operating_point`), and no class
where the network is unsure; a U-Net's labels become a mask.

Knows nothing about files, batches or ledgers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lits_deploy.fusion import LIVER, TUMOUR, UNSEEN, Fusion, lesion_log_odds, probability
from lits_deploy.ledger import ABSTAINED, FAILED, OK, SecondRow
from lits_deploy.masks import packed
from lits_deploy.operating_point import OperatingPoint

_NOT_FINITE = "the network's answer is not a finite number"


def softmax(logits: npt.NDArray[np.floating[Any]], temperature: float = 1.0) -> npt.NDArray[np.float32]:
    """Probabilities along the last axis, computed in float64 and rounded to float32 once.

    temperature: divides the logits (Guo et al. 2017, arXiv 1706.04599); 1 leaves them as trained.
    """
    z = logits.astype(np.float64) / temperature
    z -= z.max(axis=-1, keepdims=True)
    e = np.exp(z)
    probabilities: npt.NDArray[np.float32] = (e / e.sum(axis=-1, keepdims=True)).astype(np.float32)
    return probabilities


class Decided(NamedTuple):
    """probabilities: float32 [N, 3], calibrated; labels: int64 [N], as if every slice got a class; unsure: bool [N],
    those that get none."""

    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    unsure: npt.NDArray[np.bool_]


class Answer(NamedTuple):
    """What is said of a slice: a class 0…2 with its probabilities; no class but probabilities (unsure); or a reason.

    labels: its mask, compressed, where it was segmented (`segmentation`); its class is then the largest label in it.
    second: what a pair says besides.
    """

    reason: str | None
    label: int | None
    p0: float | None
    p1: float | None
    p2: float | None
    labels: bytes | None = None
    second: SecondRow | None = None

    @property
    def lesion(self) -> float | None:
        """The probability of a lesion that suspicion rests on: a pair's by both, else the classifier's."""
        return self.p2 if self.second is None else self.second.lesion

    @property
    def unsure(self) -> bool:
        """The network answered, and the bundle says not to trust it."""
        return self.label is None and self.p0 is not None

    @property
    def status(self) -> int:
        """Of its slice: OK, ABSTAINED or FAILED (`ledger`)."""
        return OK if self.label is not None else ABSTAINED if self.unsure else FAILED


@dataclass(frozen=True, kw_only=True)
class DecisionSettings:
    """What all classifiers' answers are read by, besides what makes probabilities of them.

    abstain_below: highest probability under which a slice gets no class, or None. point: the rule by which class 2 is
    given.
    """

    abstain_below: float | None = None
    point: OperatingPoint = field(default_factory=OperatingPoint)

    def to_json(self) -> dict[str, Any]:
        """For a run's identity, beside the bundle that holds the temperature: another reading gives other rows."""
        return {"abstain_below": self.abstain_below, **self.point.identity()}

    def called(
        self,
        logits: npt.NDArray[np.floating[Any]],
        best: npt.NDArray[np.int64],
        probabilities: npt.NDArray[np.float32],
        log_odds: Callable[[], npt.NDArray[np.float64]],
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Class of each row, and which rows are unsure.

        best: int [N], the most probable class; log_odds: gives those of a lesion, float64 [N], where the point has a
        threshold. A slice that reaches it is never unsure: what the rule finds is not abstained, and the promise does
        not depend on abstention.
        """
        labels, marked = best, np.zeros(len(logits), dtype=np.bool_)
        if self.point.threshold is not None:
            marked = log_odds() >= np.log(self.point.threshold)
            labels = np.where(marked, 2, logits[:, :2].argmax(axis=1))
        unsure = np.zeros(len(logits), dtype=np.bool_)
        if self.abstain_below is not None:
            highest = probabilities[np.arange(len(logits)), best]
            unsure = ~marked & (highest < np.float32(self.abstain_below))
        return labels.astype(np.int64), unsure


@dataclass(frozen=True, kw_only=True)
class SliceDecider(DecisionSettings):
    """How an artifact's logits are read (see `bundle.Artifact`). temperature: divides the logits."""

    temperature: float = 1.0

    def decide(self, logits: npt.NDArray[np.floating[Any]]) -> Decided:
        """What is said of each row of float [N, 3]."""
        probabilities = softmax(logits, self.temperature)
        odds = partial(lesion_log_odds, logits, self.temperature)
        return Decided(probabilities, *self.called(logits, logits.argmax(axis=1), probabilities, odds))

    def answers(self, logits: npt.NDArray[np.float32]) -> Iterator[Answer]:
        """One answer for each row of float32 [N, 3]."""
        finite = np.isfinite(logits.sum(axis=1))
        for row, label, unsure, right in zip(*self.decide(logits), finite, strict=True):
            p0, p1, p2 = map(float, row)
            if not right:
                yield Answer(_NOT_FINITE, None, None, None, None)
            elif unsure:
                yield Answer(f"unsure: no class reaches {self.abstain_below:.3f}", None, p0, p1, p2)
            else:
                yield Answer(None, int(label), p0, p1, p2)


class PairDecided(NamedTuple):
    """As `Decided`; log_odds: float64 [N], of a lesion by both networks."""

    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    unsure: npt.NDArray[np.bool_]
    log_odds: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PairDecider(DecisionSettings):
    """How a pair's logits and pixels are read.

    Classes and doubts go by the probabilities of both networks (`both_probabilities`); those that are shown are the
    classifier's.
    """

    fusion: Fusion

    def decide(self, logits: npt.NDArray[np.floating[Any]], counts: npt.NDArray[np.integer[Any]]) -> PairDecided:
        """What is said of each row of float [N, 3] and int [N, 2]."""
        temperature, log_odds = self.fusion.temperature, self.fusion.log_odds(logits, counts)
        both = both_probabilities(logits, temperature, log_odds)
        called = self.called(logits, both.argmax(axis=1), both, lambda: log_odds)
        return PairDecided(softmax(logits, temperature), *called, log_odds)

    def answers(self, logits: npt.NDArray[np.float32], counts: npt.NDArray[np.int32]) -> Iterator[Answer]:
        """One answer for each row of float32 [N, 3] and int32 [N, 2]."""
        finite = np.isfinite(logits.sum(axis=1))
        for row, label, unsure, odds, seen, right in zip(*self.decide(logits, counts), counts, finite, strict=True):
            if not right:
                yield Answer(_NOT_FINITE, None, None, None, None)
                continue
            p0, p1, p2 = map(float, row)
            liver, tumour = (None, None) if seen[TUMOUR] == UNSEEN else (int(seen[LIVER]), int(seen[TUMOUR]))
            second = SecondRow(liver, tumour, float(odds))
            if unsure:
                yield Answer(f"unsure: no class reaches {self.abstain_below:.3f}", None, p0, p1, p2, None, second)
            else:
                yield Answer(None, int(label), p0, p1, p2, None, second)


def both_probabilities(
    logits: npt.NDArray[np.floating[Any]], temperature: float, log_odds: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Of the classes by both networks, float32 [N, 3]: class 2 has that of the odds of a lesion, and the other two
    share the rest as the classifier's logits part it."""
    with np.errstate(invalid="ignore"):
        rest = softmax(logits[:, :2], temperature).astype(np.float64)
        lesion = probability(log_odds)
        found: npt.NDArray[np.float32] = np.column_stack([rest * (1 - lesion)[:, None], lesion]).astype(np.float32)
    return found


@dataclass(frozen=True, kw_only=True)
class MaskDecider:
    """Reads a U-Net's labels: the answer is the mask, and the largest label in it."""

    def to_json(self) -> dict[str, Any]:
        """For a run's identity."""
        return {"task": "segment"}

    def answers(self, labels: npt.NDArray[np.uint8]) -> Iterator[Answer]:
        """One answer for each mask of uint8 [N, S, S]."""
        for mask in labels:
            yield Answer(None, int(mask.max()), None, None, None, packed(mask))
