"""The figures of a folded training out of fold: what this way of training does on patients that it has not seen.

They are of no single file: each patient was answered by another fold's network. They go into a bundle beside the file's
own figures and are never shown as these (`lits_deploy.measured`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from export.bootstrap import DRAWS, Resamples, interval, quotient, ranking, resample
from lits_deploy.measured import CLASSIFIER
from lits_deploy.pipeline.decide import softmax
from train.folds.figures import by_fold, figures_of
from train.metrics import confusion_matrix, liver_accuracy, overlap, per_class_accuracy
from train.out_of_fold import OutOfFold


def procedure(answers: OutOfFold, draws: int = DRAWS) -> dict[str, Any]:
    """For `metrics.out_of_fold` of the manifest.

    data, split_by, synthetic; flips: mirror images that were answered with each slice; folds (K), slices, patients;
    the figures of `export.figures.measure`; intervals: [low, high] of each, 95 % over patients, None where there are
    too few; by_fold: lowest and highest of the folds.
    """
    intervals = _classified(answers, draws) if answers.task == "classify" else _segmented(answers, draws)
    folds = [_singles(figures) for figures in by_fold(answers)]
    known = {name: [value for one in folds if (value := one[name]) is not None] for name in folds[0]}
    return {
        "data": answers.record["data"],
        "split_by": answers.record["split_by"],
        "synthetic": answers.record["synthetic"],
        "flips": answers.record.get("flips", "none"),
        "folds": answers.folds,
        **figures_of(answers),
        "intervals": {name: list(ends) if (ends := interval(values)) else None for name, values in intervals.items()},
        "by_fold": {name: [min(values), max(values)] if values else None for name, values in known.items()},
    }


def _singles(figures: dict[str, Any]) -> dict[str, float | None]:
    """Figures that are one number each, by the names of `intervals`."""
    if "dice" not in figures:
        return {name: figures[name] for name in CLASSIFIER}
    both = {f"{name}{label}": figures[name][label] for name in ("dice", "iou") for label in range(3)}
    return {**both, "pixel_error": figures["pixel_error"]}


def _classified(answers: OutOfFold, draws: int) -> dict[str, npt.NDArray[np.float64]]:
    assert answers.logits is not None
    resamples = resample(answers.patient.tolist(), draws=draws)
    pooled = resamples.pooled(_by_patient(resamples, answers.target, answers.logits.argmax(axis=1)))
    recalls = per_class_accuracy(pooled)
    known = np.isfinite(recalls)
    return {
        "accuracy": quotient(np.trace(pooled, axis1=-2, axis2=-1), pooled.sum(axis=(-2, -1))),
        "balanced_accuracy": quotient(np.where(known, recalls, 0.0).sum(axis=-1), known.sum(axis=-1)),
        "liver_accuracy": liver_accuracy(pooled),
        "lesion_auroc": ranking(answers.target == 2, softmax(answers.logits)[:, 2], resamples)["auroc"],
    }


def _by_patient(
    resamples: Resamples, target: npt.NDArray[np.int64], label: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.int64]:
    """Confusion matrices [patients, 3, 3]."""
    patients = range(resamples.counts.shape[1])
    return np.stack([confusion_matrix(target[own], label[own]) for own in (resamples.of == one for one in patients)])


def _segmented(answers: OutOfFold, draws: int) -> dict[str, npt.NDArray[np.float64]]:
    assert answers.pixels is not None
    resamples = resample(answers.patient.tolist(), draws=draws)
    patients = range(resamples.counts.shape[1])
    pooled = resamples.pooled(np.stack([answers.pixels[resamples.of == one].sum(axis=0) for one in patients]))
    dice, iou = overlap(pooled)
    both = {f"{name}{label}": values[:, label] for name, values in (("dice", dice), ("iou", iou)) for label in range(3)}
    return {**both, "pixel_error": 1 - quotient(np.trace(pooled, axis1=-2, axis2=-1), pooled.sum(axis=(-2, -1)))}
