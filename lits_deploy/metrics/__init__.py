"""Figures of merit in numpy: torch-free, so that the edge box computes them too.

`classification` counts answers, `curves` ranks, `calibration` weighs confidence, `segmentation` compares label maps,
`bootstrap` gives intervals over patients. SciPy is imported only by the functions that measure surfaces or components.
"""

from __future__ import annotations

from lits_deploy.metrics.classification import (
    balanced_accuracy,
    classification_summary,
    confusion_matrix,
    liver_accuracy,
    per_class_accuracy,
    per_class_rates,
    softmax,
)
from lits_deploy.metrics.curves import auroc, average_precision
from lits_deploy.metrics.segmentation import segmentation_summary, segmentation_summary_of

__all__ = [
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "classification_summary",
    "confusion_matrix",
    "liver_accuracy",
    "per_class_accuracy",
    "per_class_rates",
    "segmentation_summary",
    "segmentation_summary_of",
    "softmax",
]
