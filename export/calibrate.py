"""Temperature and abstain threshold of an artifact, fitted on validation patients at export.

The network is not changed: both are numbers in the manifest that the host applies to the logits. They are fitted on
the artifact itself, on a runtime, because a precision shifts confidence before it shifts classes. The split is the one
that the best checkpoint was chosen on, so the figures of `after` flatter a little: `evaluate` on test patients is the
honest measure. Patients that the network was trained on are left out, whatever split they lie in by now: it is surer of
them than of any other. Knows nothing about U-Nets, whose temperature is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from export.answers import Answer
from export.confidence import expected_calibration_error, fit_abstain, fit_temperature, negative_log_likelihood
from export.held_out import HeldOut
from lits_deploy.pipeline.judge import softmax

FEWEST = 60
"""Slices at least: fewer say more about chance than about the network."""

WANTED_ACCURACY, MOST_ABSTAINED = 0.95, 0.10
"""The threshold is the lowest that makes 95 % of the answered slices right, abstaining on a tenth at most."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What goes into `bundle.Artifact`; neutral, with the reason in `record`, where it could not be fitted."""

    temperature: float = 1.0
    abstain_below: float | None = None
    record: dict[str, Any] = field(default_factory=dict)


def calibrate(held: HeldOut, answers: Sequence[Answer]) -> Calibration:
    """Fit both numbers to an artifact's answers on the validate split (`export.figures.Measured`).

    Neutral for a U-Net, for bare weights, where the training data is not at hand, and on fewer than FEWEST slices or
    fewer than two classes of patients that were not trained on.
    """
    if held.original.info.task != "classify":
        return Calibration(record={"fitted": False, "why": "a U-Net's probabilities are not calibrated"})
    unseen = held.unseen("validate")
    if unseen is None:
        return Calibration(record={"fitted": False, "why": "the validate split is not at hand"})
    known = {"left_out": list(unseen.left_out), "training_known": unseen.known}
    if not unseen.samples:
        return Calibration(record={"fitted": False, "why": "it was trained on every validate patient", **known})
    if not held.fits("validate"):
        return Calibration(record={"fitted": False, "why": "the validate split is of another window", **known})
    chosen = set(held.gated)
    used = [answer for answer in answers if answer.sample in chosen]
    target = np.array([answer.target for answer in used], np.int64)
    if len(target) < FEWEST or len(np.unique(target)) < 2:
        classes = len(np.unique(target))
        why = f"{len(target)} validate slices of {classes} classes are too few"
        return Calibration(record={"fitted": False, "why": why, **known})
    logits = np.stack([answer.logits for answer in used if answer.logits is not None])
    temperature = fit_temperature(target, logits)
    rule = fit_abstain(
        target, softmax(logits, temperature), wanted_accuracy=WANTED_ACCURACY, most_abstained=MOST_ABSTAINED
    )
    described = unseen.layout.describe()
    record = {
        "fitted": True,
        "data": f"{described['name']}/validate",
        "split_by": described["split_by"],
        "synthetic": described["synthetic"],
        "slices": len(target),
        "patients": sorted({answer.sample.patient for answer in used}),
        **known,
        "before": _quality(target, logits, 1.0),
        "after": _quality(target, logits, temperature),
        "abstain": rule.to_json(),
    }
    return Calibration(temperature=temperature, abstain_below=rule.threshold, record=record)


def _quality(target: npt.NDArray[np.int64], logits: npt.NDArray[np.float32], temperature: float) -> dict[str, float]:
    probabilities = softmax(logits, temperature)
    correct = probabilities.argmax(axis=1) == target
    return {
        "nll": negative_log_likelihood(target, logits, temperature),
        "ece": expected_calibration_error(probabilities.max(axis=1), correct),
    }
