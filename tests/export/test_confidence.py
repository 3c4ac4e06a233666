"""Calibration error, temperature and abstain threshold: against torchmetrics, scikit-learn, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from export.confidence import (
    COLDEST,
    HOTTEST,
    bin_of,
    brier_terms,
    classwise_calibration_error,
    expected_calibration_error,
    fit_abstain,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from lits_deploy.errors import DataError
from lits_deploy.pipeline.decide import softmax

Drawn = tuple[np.ndarray, np.ndarray]


def drawn(seed: int, slices: int = 400, scale: float = 2.0) -> Drawn:
    """Logits, and targets that follow softmax(logits / scale): too sure by the factor `scale`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (slices, 3)).astype(np.float32)
    p = softmax(logits, scale).astype(np.float64)
    target = (rng.random((slices, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    return target, logits


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bins", [10, 15])
def test_calibration_error_agrees_with_torchmetrics(seed: int, bins: int) -> None:
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.classification")
    target, logits = drawn(seed)
    probabilities = softmax(logits)
    theirs = classification.MulticlassCalibrationError(num_classes=3, n_bins=bins, norm="l1")
    expected = float(theirs(torch.from_numpy(probabilities), torch.from_numpy(target)))
    ours = expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == target, bins)
    assert ours == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_and_brier_agree_with_scikit_learn(seed: int) -> None:
    target, logits = drawn(seed)
    for temperature in (1.0, 1.7):
        z = logits.astype(np.float64) / temperature
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        assert negative_log_likelihood(target, logits, temperature) == pytest.approx(sk.log_loss(target, p))
    each = [sk.brier_score_loss(target == k, softmax(logits)[:, k]) for k in range(3)]
    assert brier_terms(target, softmax(logits)).mean() == pytest.approx(sum(each))


def test_bins_hold_their_upper_edge() -> None:
    assert bin_of([0.0, 0.1, 0.1000001, 0.5, 1.0], bins=10).tolist() == [0, 0, 1, 4, 9]


def test_reliability_of_a_case_done_by_hand() -> None:
    found = reliability([0.55, 0.58, 0.95, 0.99], [True, False, True, True], bins=10)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert found.accuracy[5] == 0.5
    assert found.confidence[9] == pytest.approx(0.97)
    assert found.error == pytest.approx(0.5 * abs(0.5 - 0.565) + 0.5 * 0.03)
    first = found.to_json()[0]
    assert (first["count"], first["accuracy"], first["high"]) == (0, None, pytest.approx(0.1))


def test_no_slices_have_no_figures() -> None:
    assert np.isnan(expected_calibration_error([], []))
    assert np.isnan(negative_log_likelihood([], np.zeros((0, 3))))


def test_classwise_error_sees_what_the_confidence_error_cannot() -> None:
    probabilities = np.tile([0.6, 0.4, 0.0], (10, 1))  # class 0 is right six times in ten, the rest is class 2
    target = np.array([0] * 6 + [2] * 4)
    assert expected_calibration_error(probabilities.max(axis=1), target == 0) == pytest.approx(0)
    assert classwise_calibration_error(target, probabilities) == pytest.approx((0.0 + 0.4 + 0.4) / 3)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_of_a_known_case_is_found(scale: float) -> None:
    target, logits = drawn(11, slices=20_000, scale=scale)
    fitted = fit_temperature(target, logits)
    assert fitted == pytest.approx(scale, rel=0.05)
    best = negative_log_likelihood(target, logits, fitted)
    for nearby in (0.999, 1.001):
        assert best <= negative_log_likelihood(target, logits, fitted * nearby)
    assert fit_temperature(target, logits) == fitted, "the same slices, the same temperature, to the last bit"


def test_temperatures_have_bounds() -> None:
    separable = np.array([[9.0, 0, 0], [0, 9, 0], [0, 0, 9]])
    assert fit_temperature([0, 1, 2], separable) == COLDEST
    assert fit_temperature([1, 2, 0], separable) == HOTTEST
    assert fit_temperature([0, 1, 2], np.full((3, 3), 7.0)) == 1.0, "logits that are all the same say nothing"


@pytest.mark.parametrize(
    ("target", "logits"),
    [([], np.zeros((0, 3))), ([1, 1], np.eye(3)[:2]), ([0, 1], np.array([[np.nan, 0, 0], [0, 1, 0]]))],
)
def test_a_temperature_needs_slices_of_two_classes_and_numbers(target: list[int], logits: np.ndarray) -> None:
    with pytest.raises(DataError, match="temperature cannot be fitted"):
        fit_temperature(target, logits)


def sure(*confidences: float) -> np.ndarray:
    """Probabilities whose class 0 is the highest, with these confidences."""
    top = np.array(confidences, dtype=np.float32)
    return np.stack([top, (1 - top) / 2, (1 - top) / 2], axis=1)


def test_abstaining_takes_the_lowest_threshold_that_is_enough() -> None:
    probabilities = sure(0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 0.95, 0.99)
    target = [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    rule = fit_abstain(target, probabilities, wanted_accuracy=0.85, most_abstained=0.5)
    assert rule.threshold is not None
    assert 0.4 < rule.threshold < 0.5
    assert (rule.coverage, rule.accuracy, rule.accuracy_all, rule.reached) == (0.9, 8 / 9, 0.8, True)
    perfect = fit_abstain(target, probabilities, wanted_accuracy=1.0, most_abstained=0.5)
    assert perfect.threshold is not None
    assert 0.6 < perfect.threshold < 0.7
    assert perfect.coverage == 0.7


def test_abstaining_never_goes_beyond_its_share() -> None:
    probabilities = sure(*np.linspace(0.4, 0.9, 20))
    rule = fit_abstain([1] * 10 + [0] * 10, probabilities, wanted_accuracy=0.99, most_abstained=0.10)
    assert not rule.reached
    assert rule.coverage == 0.9
    assert rule.accuracy == pytest.approx(10 / 18)
    assert rule.accuracy > rule.accuracy_all


def test_no_threshold_where_none_is_needed_or_none_helps() -> None:
    assert fit_abstain([0, 0], sure(0.5, 0.9)).threshold is None
    wrong_when_sure = fit_abstain([0, 0, 0, 1], sure(0.4, 0.5, 0.6, 0.9), most_abstained=0.5)
    assert wrong_when_sure.threshold is None
    assert wrong_when_sure.coverage == 1.0
    assert wrong_when_sure.to_json()["reached"] is False


def test_slices_of_one_confidence_are_answered_together_or_not() -> None:
    rule = fit_abstain([1, 0, 0, 0], sure(0.5, 0.5, 0.9, 0.9), wanted_accuracy=1.0, most_abstained=0.25)
    assert rule.threshold is None, "half of the slices have the confidence 0.5: more than may go"


def test_the_threshold_parts_neighbours_in_float32() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    rule = fit_abstain([1, 0], sure(float(low), float(high)), wanted_accuracy=1.0, most_abstained=0.5)
    assert rule.threshold is not None
    assert low < np.float32(rule.threshold) <= high


def test_abstaining_on_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="no slices"):
        fit_abstain([], np.zeros((0, 3)))
