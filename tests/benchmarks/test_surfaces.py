"""Overlap, surface distances and lesions: against MONAI, and by hand."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

from benchmarks.evaluation.surfaces import LesionCounts, class_pixel_error, count_lesions, hausdorff_95, surface
from lits_deploy.errors import MissingExtra
from train.metrics import confusion_matrix, overlap


def blob(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A ragged ball somewhere in the picture, sometimes over its edge."""
    axes = np.indices(shape, dtype=np.float64)
    centre = [rng.uniform(0, side) for side in shape]
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)))
    return np.asarray(distance + rng.normal(0, 0.7, shape) < rng.uniform(3, 6))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("shape", "spacing"), [((20, 24), (0.8, 1.5)), ((9, 16, 14), (5.0, 0.8, 1.2))])
def test_hd95_agrees_with_monai(seed: int, shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own imports and remarks
        from monai.metrics import compute_hausdorff_distance

        rng = np.random.default_rng(seed)
        target, predicted = blob(rng, shape), blob(rng, shape)
        assert target.any()
        assert predicted.any()
        pair = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (predicted, target)]
        theirs = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=list(spacing))
    assert hausdorff_95(target, predicted, spacing) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_dice_and_iou_agree_with_monai(seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    target, labels = rng.integers(0, 3, (12, 12)), rng.integers(0, 3, (12, 12))
    dice, iou = overlap(confusion_matrix(target.ravel(), labels.ravel()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.metrics import compute_dice, compute_iou

        pair = [torch.from_numpy(np.eye(3, dtype=np.float32)[m].transpose(2, 0, 1)[None]) for m in (labels, target)]
        theirs = compute_dice(*pair)[0].tolist(), compute_iou(*pair)[0].tolist()
    assert dice.tolist() == pytest.approx(theirs[0])
    assert iou.tolist() == pytest.approx(theirs[1])


def test_the_empty_mask_rule() -> None:
    dice, iou = overlap(confusion_matrix([0, 0, 1, 0], [0, 0, 0, 0]))
    assert (dice[1], iou[1]) == (0, 0)
    assert np.isnan([dice[2], iou[2]]).all()
    some, none = np.ones((3, 3), bool), np.zeros((3, 3), bool)
    assert np.isnan(hausdorff_95(some, none, (1, 1)))
    assert np.isnan(hausdorff_95(none, some, (1, 1)))
    assert np.isnan(hausdorff_95(none, none, (1, 1)))


def test_a_shift_along_an_axis_is_its_distance_in_mm() -> None:
    target = np.zeros((12, 12, 12), bool)
    target[4:7, 4:7, 4:7] = True
    for axis, spacing in enumerate((5.0, 0.5, 2.0)):
        moved = np.roll(target, 3, axis=axis)
        assert hausdorff_95(target, moved, (5.0, 0.5, 2.0)) == pytest.approx(3 * spacing)
    assert hausdorff_95(target, target, (5.0, 0.5, 2.0)) == 0


def test_surface_is_the_rim_and_the_picture_has_an_edge() -> None:
    full = np.ones((5, 5), bool)
    assert surface(full).sum() == 16
    hollow = np.zeros((7, 7), bool)
    hollow[1:6, 1:6] = True
    assert surface(hollow).sum() == 16
    assert not surface(hollow)[3, 3]


def test_lesions_found_missed_and_invented() -> None:
    target, predicted = np.zeros((4, 12, 12), bool), np.zeros((4, 12, 12), bool)
    target[0:2, 1:3, 1:3] = True  # touched by one pixel
    predicted[1, 2, 2] = True
    target[2, 8, 8] = target[3, 9, 9] = True  # one lesion, over a corner; missed
    predicted[0, 10, 1] = True  # invented
    assert count_lesions(target, predicted) == LesionCounts(lesions=2, found=1, predicted=2, false=1)
    empty = np.zeros((4, 12, 12), bool)
    assert count_lesions(empty, empty) == LesionCounts(lesions=0, found=0, predicted=0, false=0)
    assert count_lesions(target, empty) == LesionCounts(lesions=2, found=0, predicted=0, false=0)
    assert count_lesions(empty, predicted) == LesionCounts(lesions=0, found=0, predicted=2, false=2)


def test_pixel_error_of_a_class_counts_missed_and_put() -> None:
    matrix = confusion_matrix([0, 0, 1, 1, 2], [0, 1, 1, 0, 1])
    assert class_pixel_error(matrix).tolist() == pytest.approx([2 / 5, 3 / 5, 1 / 5])


def test_without_scipy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scipy.spatial", "scipy.ndimage"):
        monkeypatch.setitem(sys.modules, name, None)
    some = np.ones((2, 2), bool)
    with pytest.raises(MissingExtra, match=r"lits-deploy\[bench\]"):
        hausdorff_95(some, some, (1, 1))
    with pytest.raises(MissingExtra, match=r"lits-deploy\[bench\]"):
        count_lesions(some, some)
