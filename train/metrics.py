"""Figures of merit in numpy that training, export and benchmarks share: what is counted from answers, and overlap.

Rows of a confusion matrix are targets, as in the thesis; names are scikit-learn's. Matrices add up over batches, slices
and patients. The empty-mask rule: a class in neither label map is not scored; in one map only it has Dice 0 and IoU 0.
Knows nothing about patients, curves or confidence (`benchmarks.evaluation`, `export.confidence`). Imports no torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.integer[Any]] | npt.NDArray[np.floating[Any]]


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
    return {
        "slices": len(t),
        "accuracy": float((predicted == t).mean()) if len(t) else None,
        "balanced_accuracy": number(balanced_accuracy(matrix)),
        "liver_accuracy": number(float(liver_accuracy(matrix))),
        "lesion_auroc": number(auroc(t == 2, probabilities[:, 2])),
        "per_class_accuracy": numbers(per_class_accuracy(matrix)),
        "confusion": matrix.tolist(),
    }


def auroc(positive: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Area under the ROC curve by the Mann–Whitney rank statistic, ties counted half; NaN with one class only."""
    y = np.asarray(positive, dtype=bool)
    s = np.asarray(score, dtype=np.float64)
    n_pos, n_neg = int(y.sum()), int((~y).sum())
    if n_pos == 0 or n_neg == 0:
        return float("nan")
    _, inverse, counts = np.unique(s, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2.0
    rank_sum = mean_rank[inverse][y].sum()
    return float((rank_sum - n_pos * (n_pos + 1) / 2.0) / (n_pos * n_neg))


def segmentation_summary_of(matrix: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Global Dice and IoU per class, and pixel error, from a matrix of all pixels; None for what is not scored."""
    dice, iou = overlap(matrix)
    return {
        "dice": numbers(dice),
        "iou": numbers(iou),
        "pixel_error": float(1.0 - np.diag(matrix).sum() / max(1, matrix.sum())),
    }


def overlap(matrix: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Dice and IoU of each class, each float64 [..., K], from confusion matrices [..., K, K]; NaN where it is in
    neither map."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    both = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    return _ratio(2 * hit, both), _ratio(hit, both - hit)


def number(value: float) -> float | None:
    """None for NaN: JSON has no figure that does not exist."""
    return None if np.isnan(value) else float(value)


def numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    """`number` of each."""
    return [number(value) for value in values]


def _ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Quotient, NaN where the denominator is 0."""
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    quotient: npt.NDArray[np.float64] = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
