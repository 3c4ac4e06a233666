"""Thresholds: the rule holds on the slices that set it, by no more than one slice, and lies between two of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from export.thresholds import ASIDE, threshold_of
from lits_deploy.errors import DataError


def drawn(seed: int, slices: int = 60, digits: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Slices with a lesion, and a score with or without ties that knows something about them."""
    rng = np.random.default_rng(seed)
    lesion = rng.random(slices) < 0.3
    lesion[:2] = True, False
    return lesion, (rng.normal(0, 1, slices) + lesion).round(digits)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("digits", [0, 1, 6])
@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.9, 0.95])
def test_what_is_held_is_reached_and_not_by_more_than_a_slice(seed: int, digits: int, wanted: float) -> None:
    lesion, score = drawn(seed, digits=digits)
    threshold = threshold_of(f"sensitivity={wanted:g}", lesion, score)
    marked = score >= threshold
    assert marked[lesion].mean() >= wanted
    higher = score > score[marked].min()  # the next higher threshold
    assert higher[lesion].mean() < wanted
    threshold = threshold_of(f"specificity={wanted:g}", lesion, score)
    marked = score >= threshold
    assert (~marked)[~lesion].mean() >= wanted
    lower = score >= score[~marked].max()
    assert (~lower)[~lesion].mean() < wanted


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("digits", [0, 1, 6])
def test_balanced_is_the_best_point_of_the_curve(seed: int, digits: int) -> None:
    lesion, score = drawn(seed, digits=digits)
    alarms, found, _ = roc_curve(lesion, score, drop_intermediate=False)
    marked = score >= threshold_of("balanced", lesion, score)
    assert marked[lesion].mean() - marked[~lesion].mean() == pytest.approx((found - alarms).max())


def test_a_threshold_lies_midway_between_the_slices_that_it_parts() -> None:
    lesion, score = np.array([True, True, False, False]), np.array([3.0, 1.0, 0.0, -2.0])
    assert threshold_of("sensitivity=0.9", lesion, score) == 0.5
    assert threshold_of("sensitivity=0.5", lesion, score) == 2.0
    assert threshold_of("specificity=0.9", lesion, score) == 0.5
    assert threshold_of("specificity=0.5", lesion, score) == -1.0
    assert threshold_of("balanced", lesion, score) == 0.5


def test_of_equal_points_the_one_that_misses_least() -> None:
    lesion, score = np.array([True, False, True, False]), np.array([3.0, 2.0, 1.0, 0.0])
    assert threshold_of("balanced", lesion, score) == 0.5


def test_beyond_the_outermost_slice_it_lies_aside() -> None:
    lesion, score = np.array([False, True]), np.array([2.0, 1.0])
    assert threshold_of("specificity=0.9", lesion, score) == 2.0 + ASIDE
    assert threshold_of("sensitivity=0.9", lesion, score) == 1.0 - ASIDE


@pytest.mark.parametrize("lesion", [[True, True], [False, False], []])
def test_slices_of_one_kind_set_none(lesion: list[bool]) -> None:
    with pytest.raises(DataError, match="slices of one kind"):
        threshold_of("balanced", np.array(lesion, bool), np.zeros(len(lesion)))
