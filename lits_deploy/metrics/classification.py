"""Figures of merit of a classifier that need its answers only: confusion matrix, and what is counted from it.

Rows of a confusion matrix are targets, as in the thesis; names are scikit-learn's. Knows nothing about patients
(`bootstrap`), rankings (`curves`) or confidence (`calibration`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.metrics.curves import auroc

Matrix = npt.NDArray[np.integer[Any]] | npt.NDArray[np.floating[Any]]


def softmax(logits: npt.NDArray[np.floating[Any]], temperature: float = 1.0) -> npt.NDArray[np.float32]:
    """Probabilities along the last axis, computed in float64 and rounded to float32 once.

    temperature: divides the logits (Guo et al. 2017, arXiv 1706.04599); 1 leaves them as trained.
    """
    z = logits.astype(np.float64) / temperature
    z -= z.max(axis=-1, keepdims=True)
    e = np.exp(z)
    probabilities: npt.NDArray[np.float32] = (e / e.sum(axis=-1, keepdims=True)).astype(np.float32)
    return probabilities


def confusion_matrix(target: npt.ArrayLike, predicted: npt.ArrayLike, classes: int = 3) -> npt.NDArray[np.int64]:
    """Counts [classes, classes], rows = target, columns = prediction."""
    t, p = np.asarray(target, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    return np.bincount(t * classes + p, minlength=classes * classes).reshape(classes, classes)


def per_class_accuracy(matrix: Matrix) -> npt.NDArray[np.float64]:
    """Diagonal over row sum (the thesis's per-class accuracy = recall); NaN for a class without targets.

    matrix: [..., K, K], rows = target. Returns [..., K].
    """
    return _ratio(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(axis=-1))


def balanced_accuracy(matrix: Matrix) -> float:
    """Mean recall over the classes that occur; NaN where none does."""
    recalls = per_class_accuracy(matrix)
    return float(np.nanmean(recalls)) if np.isfinite(recalls).any() else float("nan")


def per_class_rates(matrix: Matrix) -> dict[str, npt.NDArray[np.float64]]:
    """Each class against the rest: sensitivity, specificity, precision and f1; NaN where the denominator is empty.

    matrix: [..., K, K], rows = target. Each figure is [..., K]. Sensitivity is the share of a class's slices that are
    found, specificity the share of the other slices that are left alone, precision the share of the slices so called
    that are right.
    """
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    rows, columns = matrix.sum(axis=-1), matrix.sum(axis=-2)
    total = matrix.sum(axis=(-2, -1))[..., np.newaxis]
    return {
        "sensitivity": _ratio(hit, rows),
        "specificity": _ratio(total - rows - columns + hit, total - rows),
        "precision": _ratio(hit, columns),
        "f1": _ratio(2 * hit, rows + columns),
    }


def liver_accuracy(matrix: Matrix) -> npt.NDArray[np.float64]:
    """Share of slices on the right side of class 0 against 1 and 2, by the predicted class. [..., 3, 3] → [...]."""
    right = matrix[..., 0, 0] + matrix[..., 1:, 1:].sum(axis=(-2, -1))
    return _ratio(right, matrix.sum(axis=(-2, -1)))


def classification_summary(
    target: npt.ArrayLike, probabilities: npt.NDArray[Any], *, labels: npt.ArrayLike | None = None
) -> dict[str, Any]:
    """The figures every report shows for a 3-class run.

    target: int [N]; probabilities: float [N, 3]; labels: int [N], what each was called, where it is not the class of
    the highest probability.
    Returns accuracy, balanced_accuracy, liver_accuracy (class 0 against 1 and 2, by the predicted class),
    lesion_auroc (score p2 against target == 2), per_class_accuracy, confusion (rows = target), slices. A figure that
    does not exist, such as the AUROC where no slice shows a lesion, is None.
    """
    t = np.asarray(target, dtype=np.int64)
    predicted = probabilities.argmax(axis=1) if labels is None else np.asarray(labels, dtype=np.int64)
    matrix = confusion_matrix(t, predicted, probabilities.shape[1])
    recalls = per_class_accuracy(matrix)
    return {
        "slices": len(t),
        "accuracy": float((predicted == t).mean()) if len(t) else None,
        "balanced_accuracy": _number(balanced_accuracy(matrix)),
        "liver_accuracy": float(((predicted > 0) == (t > 0)).mean()) if len(t) else None,
        "lesion_auroc": _number(auroc(t == 2, probabilities[:, 2])),
        "per_class_accuracy": [_number(value) for value in recalls],
        "confusion": matrix.tolist(),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Quotient, NaN where the denominator is 0."""
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    quotient: npt.NDArray[np.float64] = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
