"""What a U-Net's labels are worth beyond their overlap (`train.metrics`): pixels, distance of surfaces, lesions found.

Knows nothing about files or patients. SciPy is imported by the functions that need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import MissingExtra

Mask = npt.NDArray[np.bool_]


class LesionCounts(NamedTuple):
    """Connected components of the lesion class: of the target, how many of them the prediction touches by a pixel or
    more, of the prediction, and how many of those touch no target (false ones)."""

    lesions: int
    found: int
    predicted: int
    false: int


def summed(counts: Sequence[LesionCounts]) -> LesionCounts:
    """Of several scans or slices together."""
    return LesionCounts(*map(sum, zip(*counts, strict=True)))


def class_pixel_error(matrix: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Share of all pixels where a class is missed or put wrongly, float64 [..., K], from matrices [..., K, K]."""
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    wrong = matrix.sum(axis=-1) + matrix.sum(axis=-2) - 2 * hit
    share: npt.NDArray[np.float64] = wrong / np.maximum(1, matrix.sum(axis=(-2, -1)))[..., np.newaxis]
    return share


def surface(mask: Mask) -> Mask:
    """Pixels of a mask with a face-neighbour outside it; beyond the edge of the picture counts as outside."""
    from scipy.ndimage import binary_erosion

    rim: Mask = mask & ~binary_erosion(mask)
    return rim


def hausdorff_95(target: Mask, predicted: Mask, spacing_mm: Sequence[float]) -> float:
    """Distance in mm that 95 % of either surface stays within of the other; NaN where one of the masks is empty.

    target, predicted: bool, of one shape; spacing_mm: a distance for each axis. The larger of both directed 95th
    percentiles (linear between samples) of the distances from surface pixel to nearest surface pixel, as MONAI's
    `compute_hausdorff_distance(percentile=95)`. Raises MissingExtra without SciPy.
    """
    try:
        from scipy.spatial import cKDTree
    except ImportError as error:
        raise MissingExtra("SciPy", "bench") from error
    if not (target.any() and predicted.any()):
        return float("nan")
    scale = np.asarray(spacing_mm, dtype=np.float64)
    points = [np.argwhere(surface(mask)) * scale for mask in _around(target, predicted)]
    there, _ = cKDTree(points[0]).query(points[1])
    back, _ = cKDTree(points[1]).query(points[0])
    return float(max(np.percentile(there, 95), np.percentile(back, 95)))


def count_lesions(target: Mask, predicted: Mask) -> LesionCounts:
    """Lesions of a volume [D, H, W], or of a slice [H, W]: connected over faces, edges and corners.

    Raises MissingExtra without SciPy.
    """
    try:
        from scipy.ndimage import label
    except ImportError as error:
        raise MissingExtra("SciPy", "bench") from error
    if not (target.any() or predicted.any()):
        return LesionCounts(lesions=0, found=0, predicted=0, false=0)
    target, predicted = _around(target, predicted)
    touching = np.ones((3,) * target.ndim, dtype=bool)
    parts, count = label(target, structure=touching)
    guesses, guessed = label(predicted, structure=touching)
    found = np.count_nonzero(np.unique(parts[predicted]))
    right = np.count_nonzero(np.unique(guesses[target]))
    return LesionCounts(lesions=int(count), found=int(found), predicted=int(guessed), false=int(guessed - right))


def _around(target: Mask, predicted: Mask) -> tuple[Mask, Mask]:
    """Both masks cut to the box that holds both, one pixel wider: outside it nothing is to be measured."""
    from scipy.ndimage import find_objects

    (found,) = find_objects((target | predicted).astype(np.uint8))
    box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in found)
    return target[box], predicted[box]
