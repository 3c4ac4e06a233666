"""From a network's output to a slice's answer.

A classifier's logits become calibrated probabilities, and no class where the network is unsure; a U-Net's labels
become a mask.

Knows nothing about files, batches or ledgers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lits_deploy.masks import packed

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


class Answer(NamedTuple):
    """What is said of a slice: a class 0…2 with its probabilities; no class but probabilities (unsure); or a reason.

    labels: its mask, compressed, where it was segmented (`segmentation`); its class is then the largest label in it.
    """

    reason: str | None
    label: int | None
    p0: float | None
    p1: float | None
    p2: float | None
    labels: bytes | None = None

    @property
    def unsure(self) -> bool:
        """The network answered, and the bundle says not to trust it."""
        return self.label is None and self.p0 is not None


@dataclass(frozen=True, kw_only=True)
class Judge:
    """How an artifact's logits are read (see `bundle.Artifact`).

    temperature: divides the logits. abstain_below: highest probability under which a slice gets no class, or None.
    """

    temperature: float = 1.0
    abstain_below: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For a run's identity, beside the bundle that holds the temperature: another reading gives other rows."""
        return {"abstain_below": self.abstain_below}

    def answers(self, logits: npt.NDArray[np.float32]) -> Iterator[Answer]:
        """One answer for each row of float32 [N, 3]."""
        probabilities = softmax(logits, self.temperature)
        finite = np.isfinite(logits.sum(axis=1))
        for row, label, right in zip(probabilities, logits.argmax(axis=1), finite, strict=True):
            p0, p1, p2 = map(float, row)
            if not right:
                yield Answer(_NOT_FINITE, None, None, None, None)
            elif self.abstain_below is not None and row[label] < np.float32(self.abstain_below):
                yield Answer(f"unsure: no class reaches {self.abstain_below:.3f}", None, p0, p1, p2)
            else:
                yield Answer(None, int(label), p0, p1, p2)


@dataclass(frozen=True, kw_only=True)
class MaskJudge:
    """Reads a U-Net's labels: the answer is the mask, and the largest label in it."""

    def to_json(self) -> dict[str, Any]:
        """For a run's identity."""
        return {"task": "segment"}

    def answers(self, labels: npt.NDArray[np.uint8]) -> Iterator[Answer]:
        """One answer for each mask of uint8 [N, S, S]."""
        for mask in labels:
            yield Answer(None, int(mask.max()), None, None, None, packed(mask))
