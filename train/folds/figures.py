"""The figures of a folded training out of fold: of all slices together, and fold by fold. No torch, no intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from train.metrics import classification_summary, segmentation_summary_of
from train.out_of_fold import OutOfFold


def figures_of(answers: OutOfFold) -> dict[str, Any]:
    """slices, patients; `classification_summary`, or `segmentation_summary_of` with the confusion matrix of pixels."""
    counted: dict[str, Any] = {"slices": len(answers), "patients": len(np.unique(answers.patient))}
    if answers.logits is not None:
        z = answers.logits.astype(np.float64)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return counted | classification_summary(answers.target, p, labels=z.argmax(axis=1))
    assert answers.pixels is not None
    matrix = answers.pixels.sum(axis=0)
    return counted | segmentation_summary_of(matrix) | {"confusion": matrix.tolist()}


def by_fold(answers: OutOfFold) -> list[dict[str, Any]]:
    """The same of each fold's own patients, with `fold` 1 … K."""
    folds = range(1, answers.folds + 1)
    return [{"fold": fold, **figures_of(answers.rows(answers.fold == fold))} for fold in folds]
