"""Figures of merit in numpy: torch-free, so that the edge box computes them too.

Definitions follow the thesis (rows of the confusion matrix are targets) and scikit-learn's names. Calibration,
segmentation scores and intervals come with `evaluate`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


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


def per_class_accuracy(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Diagonal over row sum (the thesis's per-class accuracy = recall); NaN for a class without targets."""
    rows = matrix.sum(axis=1).astype(np.float64)
    recalls: npt.NDArray[np.float64] = np.full(rows.shape, np.nan)
    np.divide(np.diag(matrix), rows, out=recalls, where=rows > 0)
    return recalls


def balanced_accuracy(matrix: npt.NDArray[np.int64]) -> float:
    """Mean recall over the classes that occur."""
    recalls = per_class_accuracy(matrix)
    return float(np.nanmean(recalls)) if np.isfinite(recalls).any() else float("nan")


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


def classification_summary(target: npt.ArrayLike, probabilities: npt.NDArray[Any]) -> dict[str, Any]:
    """The figures every report shows for a 3-class run.

    target: int [N]; probabilities: float [N, 3].
    Returns accuracy, balanced_accuracy, liver_accuracy (class 0 against 1 and 2, by the predicted class),
    lesion_auroc (score p2 against target == 2), per_class_accuracy, confusion (rows = target), slices.
    """
    t = np.asarray(target, dtype=np.int64)
    predicted = probabilities.argmax(axis=1)
    matrix = confusion_matrix(t, predicted, probabilities.shape[1])
    recalls = per_class_accuracy(matrix)
    return {
        "slices": len(t),
        "accuracy": float((predicted == t).mean()) if len(t) else float("nan"),
        "balanced_accuracy": balanced_accuracy(matrix),
        "liver_accuracy": float(((predicted > 0) == (t > 0)).mean()) if len(t) else float("nan"),
        "lesion_auroc": auroc(t == 2, probabilities[:, 2]),
        "per_class_accuracy": [None if np.isnan(v) else float(v) for v in recalls],
        "confusion": matrix.tolist(),
    }


def segmentation_summary(target: npt.NDArray[Any], labels: npt.NDArray[Any], classes: int = 3) -> dict[str, Any]:
    """Global Dice, IoU per class and pixel error over all pixels of all slices.

    target, labels: uint8 [N, H, W]. A class that is in neither is None (the empty-mask rule: not scored).
    """
    matrix = confusion_matrix(target.ravel(), labels.ravel(), classes)
    return segmentation_summary_of(matrix)


def segmentation_summary_of(matrix: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The same figures from a pixel confusion matrix (rows = target), which adds up over batches."""
    hit = np.diag(matrix).astype(np.float64)
    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    union = rows + columns - hit
    return {
        "dice": [float(2 * h / (r + c)) if r + c else None for h, r, c in zip(hit, rows, columns, strict=True)],
        "iou": [float(h / u) if u else None for h, u in zip(hit, union, strict=True)],
        "pixel_error": float(1.0 - hit.sum() / max(1, matrix.sum())),
    }
