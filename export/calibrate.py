"""Temperature and abstain threshold of an artifact, fitted on validation patients at export.

The network is not changed: both are numbers in the manifest that the host applies to the logits. They are fitted on
the artifact itself, on a runtime, because a precision shifts confidence before it shifts classes. The split is the one
that the best checkpoint was chosen on, so the figures of `after` flatter a little: `evaluate` on test patients is the
honest measure. Patients that the network was trained on are left out, whatever split they lie in by now: it is surer of
them than of any other. Knows nothing about U-Nets, whose temperature is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from export.source import Original
from lits_deploy.errors import DataError, SliceError
from lits_deploy.metrics import softmax
from lits_deploy.metrics.calibration import (
    expected_calibration_error,
    fit_abstain,
    fit_temperature,
    negative_log_likelihood,
)
from lits_deploy.runtime import Runtime
from train.data.layout import Sample
from train.data.load import load_sample
from train.data.masks import load_class

MOST = 2_048
"""Slices at most, evenly spread over the split: enough for two numbers, half a minute on two cores."""

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


def calibrate(original: Original, runtime: Runtime, *, progress: Callable[[int], None] = lambda _: None) -> Calibration:
    """Run the validate split through an artifact and fit both numbers.

    runtime: returns `logits` (float32 [N, 3]). Neutral for a U-Net, for bare weights, where the training data is not
    at hand, and on fewer than FEWEST slices or fewer than two classes of patients that were not trained on.
    """
    if original.info.task != "classify":
        return Calibration(record={"fitted": False, "why": "a U-Net's probabilities are not calibrated"})
    unseen = original.unseen("validate")
    if unseen is None:
        return Calibration(record={"fitted": False, "why": "the validate split is not at hand"})
    known = {"left_out": list(unseen.left_out), "training_known": unseen.known}
    if not unseen.samples:
        return Calibration(record={"fitted": False, "why": "it was trained on every validate patient", **known})
    target, logits, patients = _answers(original, runtime, _spread(unseen.samples, MOST), progress)
    if len(target) < FEWEST or len(np.unique(target)) < 2:
        classes = len(np.unique(target))
        why = f"{len(target)} validate slices of {classes} classes are too few"
        return Calibration(record={"fitted": False, "why": why, **known})
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
        "patients": sorted(set(patients)),
        **known,
        "before": _quality(target, logits, 1.0),
        "after": _quality(target, logits, temperature),
        "abstain": rule.to_json(),
    }
    return Calibration(temperature=temperature, abstain_below=rule.threshold, record=record)


def _spread(samples: tuple[Sample, ...], most: int) -> list[Sample]:
    places = np.unique(np.linspace(0, len(samples) - 1, min(most, len(samples))).round().astype(int))
    return [samples[place] for place in places]


def _answers(
    original: Original, runtime: Runtime, samples: list[Sample], progress: Callable[[int], None]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], list[str]]:
    """Targets [N], logits [N, 3] and patients of the samples that can be read."""
    targets: list[int] = []
    patients: list[str] = []
    logits: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(samples), runtime.max_batch):
        slices = []
        for sample in samples[start : start + runtime.max_batch]:
            try:
                picture = load_sample(sample, original.contract)
                target = load_class(sample)
            except (SliceError, DataError):
                continue
            slices.append(picture)
            targets.append(target)
            patients.append(sample.patient)
        if slices:
            got = runtime.infer(np.stack(slices)).logits
            assert got is not None
            logits.append(got)
        progress(len(slices))
    stacked = np.concatenate(logits) if logits else np.zeros((0, 3), np.float32)
    return np.array(targets, dtype=np.int64), stacked, patients


def _quality(target: npt.NDArray[np.int64], logits: npt.NDArray[np.float32], temperature: float) -> dict[str, float]:
    probabilities = softmax(logits, temperature)
    correct = probabilities.argmax(axis=1) == target
    return {
        "nll": negative_log_likelihood(target, logits, temperature),
        "ece": expected_calibration_error(probabilities.max(axis=1), correct),
    }
