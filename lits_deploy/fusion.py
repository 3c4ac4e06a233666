"""How a pair's two networks decide together: where the U-Net looks, and the lesion rule over both.

    looks     p0 / (p1 + p2) of the classifier, calibrated, lies below `no_liver_below`
    log odds  intercept + classifier · ln(p2 / (p0 + p1)) + tumour · ln(1 + tumour pixels)

A slice where the U-Net does not look counts as one without tumour pixels, in fitting (`export.pair`) as here. Both
lines depend on the slice's own answers alone. Knows nothing about files or runtimes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LIVER, TUMOUR = 0, 1
"""Columns of counts int32 [N, 2]: pixels that the U-Net calls liver, lesions included, and those it calls lesion."""

UNSEEN = -1
"""In place of both counts of a slice at which the U-Net did not look."""

Logits = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """The rule of one artifact of a pair.

    segmenter: name of the U-Net's artifact that stands beside it. temperature: the classifier's, as in the artifact.
    no_liver_below: odds; the U-Net looks where those of `no liver` are lower. intercept, classifier, tumour: of the
    lesion rule.
    """

    segmenter: str
    temperature: float
    no_liver_below: float
    intercept: float
    classifier: float
    tumour: float

    @classmethod
    def of(cls, record: Mapping[str, Any], temperature: float) -> Fusion:
        """From `bundle.Artifact.fusion`, which `manifest_check` has looked at."""
        return cls(temperature=temperature, **{name: record[name] for name in FIELDS})

    def record(self) -> dict[str, Any]:
        """For the manifest: an artifact has its temperature already."""
        return {name: value for name, value in asdict(self).items() if name in FIELDS}

    def looks(self, logits: Logits) -> npt.NDArray[np.bool_]:
        """Which rows of [N, 3] the U-Net is to look at, bool [N]; none that is not finite."""
        with np.errstate(invalid="ignore"):
            seen: npt.NDArray[np.bool_] = no_liver_log_odds(logits, self.temperature) < np.log(self.no_liver_below)
        return seen

    def log_odds(self, logits: Logits, counts: npt.NDArray[np.integer[Any]]) -> Floats:
        """ln of the odds of a lesion by both, float64 [N]. counts: [N, 2]."""
        tumour = np.log1p(np.maximum(counts[:, TUMOUR], 0).astype(np.float64))
        odds: Floats = (
            self.intercept + self.classifier * lesion_log_odds(logits, self.temperature) + self.tumour * tumour
        )
        return odds


FIELDS = ("segmenter", "no_liver_below", "intercept", "classifier", "tumour")
"""Of `Fusion`, what the manifest holds."""


def lesion_log_odds(logits: Logits, temperature: float = 1.0) -> Floats:
    """ln(p2 / (p0 + p1)) of logits [N, 3] over the temperature, float64 [N]: exact where p2 would round to 0 or 1."""
    return _log_odds(logits, temperature, 2, 0, 1)


def no_liver_log_odds(logits: Logits, temperature: float = 1.0) -> Floats:
    """ln(p0 / (p1 + p2)), likewise."""
    return _log_odds(logits, temperature, 0, 1, 2)


def _log_odds(logits: Logits, temperature: float, one: int, *rest: int) -> Floats:
    z = logits.astype(np.float64) / temperature
    with np.errstate(invalid="ignore"):  # of what is no number, whoever asks says so
        odds: Floats = z[:, one] - np.logaddexp(*(z[:, other] for other in rest))
    return odds


def probability(log_odds: Floats) -> Floats:
    """1 / (1 + exp(−x)), float64, without overflow."""
    found: Floats = np.exp(-np.logaddexp(0.0, -log_odds))
    return found
