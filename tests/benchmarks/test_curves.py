"""Rankings, areas, operating points and intervals: against scikit-learn, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from benchmarks.evaluation.curves import at_sensitivity, at_specificity, average_precision, curve
from export import bootstrap as boot
from export.bootstrap import interval, ranking, resample
from train.metrics import auroc, confusion_matrix, liver_accuracy, per_class_accuracy, per_class_rates


def drawn(seed: int, slices: int = 300, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Positives and a score with ties that knows something about them."""
    rng = np.random.default_rng(seed)
    positive = rng.random(slices) < 0.3
    return positive, (rng.random(slices) + 0.4 * positive).round(digits).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [1, 6])
def test_areas_agree_with_scikit_learn(seed: int, digits: int) -> None:
    positive, score = drawn(seed, digits=digits)
    assert auroc(positive, score) == pytest.approx(sk.roc_auc_score(positive, score))
    assert average_precision(positive, score) == pytest.approx(sk.average_precision_score(positive, score))


@pytest.mark.parametrize("seed", range(3))
def test_curve_agrees_with_scikit_learn(seed: int) -> None:
    positive, score = drawn(seed)
    false_alarms, found, thresholds = sk.roc_curve(positive, score, drop_intermediate=False)
    ours = curve(positive, score)
    np.testing.assert_allclose(1 - ours.specificity, false_alarms, atol=1e-12)
    np.testing.assert_allclose(ours.sensitivity, found)
    np.testing.assert_allclose(ours.threshold, thresholds)


@pytest.mark.parametrize("seed", range(3))
def test_class_rates_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, predicted = rng.integers(0, 3, 150), rng.integers(0, 3, 150)
    rates = per_class_rates(confusion_matrix(target, predicted))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(target, predicted)
    np.testing.assert_allclose(rates["precision"], precision)
    np.testing.assert_allclose(rates["sensitivity"], recall)
    np.testing.assert_allclose(rates["f1"], f1)
    for k in range(3):
        assert rates["specificity"][k] == pytest.approx(sk.recall_score(target == k, predicted == k, pos_label=0))


def test_a_class_that_never_occurs_has_no_rates() -> None:
    rates = per_class_rates(confusion_matrix([0, 1], [0, 1]))
    assert np.isnan([rates["sensitivity"][2], rates["precision"][2], rates["f1"][2]]).all()
    assert rates["specificity"][2] == 1.0


def test_rates_of_many_matrices_at_once() -> None:
    matrices = np.stack([confusion_matrix([0, 1, 2], [0, 1, 2]), confusion_matrix([0, 1, 2], [0, 2, 1])])
    assert per_class_accuracy(matrices).tolist() == [[1, 1, 1], [1, 0, 0]]
    assert liver_accuracy(matrices).tolist() == [1, 1]


def test_operating_points_by_hand() -> None:
    positive = [True, True, False, True, False, False, True, False]
    score = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    drawn_curve = curve(positive, score)
    most = at_sensitivity(drawn_curve, 0.75)
    assert most is not None
    assert most == {"threshold": 0.6, "sensitivity": 0.75, "specificity": 0.75, "precision": 0.75, "flagged": 4}
    calm = at_specificity(drawn_curve, 1.0)
    assert calm is not None
    assert (calm["threshold"], calm["sensitivity"]) == (0.8, 0.5)


def test_where_nothing_may_be_flagged_there_is_no_threshold() -> None:
    point = at_specificity(curve([False, True], [0.9, 0.1]), 0.95)
    assert point is not None
    assert (point["sensitivity"], point["threshold"], point["precision"]) == (0, None, None)


@pytest.mark.parametrize("positive", [[True, True], [False, False], []])
def test_one_class_only_has_no_areas_and_no_points(positive: list[bool]) -> None:
    score = [0.1, 0.2][: len(positive)]
    drawn_curve = curve(positive, score)
    assert np.isnan(auroc(positive, score))
    assert at_sensitivity(drawn_curve) is None
    assert at_specificity(drawn_curve) is None


def test_draws_are_of_patients_and_repeat() -> None:
    patients = ["b", "a", "b", "c"]
    drawn_patients = resample(patients, draws=200, seed=3)
    assert drawn_patients.of.tolist() == [1, 0, 1, 2]
    assert (drawn_patients.counts.sum(axis=1) == 3).all()
    assert (drawn_patients.counts == resample(patients, draws=200, seed=3).counts).all()
    assert drawn_patients.sums([1, 10, 1, 100]).tolist() == (drawn_patients.counts @ [10, 2, 100]).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_every_draw_has_the_figures_of_its_copied_slices(seed: int) -> None:
    positive, score = drawn(seed, slices=60, digits=1)
    patients = np.random.default_rng(seed).integers(0, 6, 60)
    resamples = resample([str(patient) for patient in patients], draws=12, seed=seed)
    found = ranking(positive, score, resamples)
    means = resamples.means(score)
    for draw, counts in enumerate(resamples.counts):
        index = np.repeat(np.arange(60), counts[resamples.of])
        copied = curve(positive[index], score[index])
        assert found["auroc"][draw] == pytest.approx(auroc(positive[index], score[index]))
        assert found["average_precision"][draw] == pytest.approx(average_precision(positive[index], score[index]))
        held, calm = at_sensitivity(copied), at_specificity(copied)
        assert held is not None
        assert calm is not None
        assert found["specificity_at"][draw] == pytest.approx(held["specificity"])
        assert found["sensitivity_at"][draw] == pytest.approx(calm["sensitivity"])
        assert means[draw] == pytest.approx(score[index].mean())


def test_draws_without_a_lesion_have_no_ranking() -> None:
    resamples = resample(["a", "b"], draws=50, seed=0)
    found = ranking([True, False], [0.5, 0.4], resamples)["auroc"]
    both = (resamples.counts > 0).all(axis=1)
    assert np.isnan(found[~both]).all()
    assert (found[both] == 1).all()
    assert 0 < both.sum() < 50


def test_many_distinct_scores_are_merged_without_moving_the_area(monkeypatch: pytest.MonkeyPatch) -> None:
    positive, score = drawn(1, slices=5000, digits=7)
    resamples = resample([str(i % 7) for i in range(5000)], draws=20, seed=0)
    exact = ranking(positive, score, resamples)["auroc"]
    monkeypatch.setattr(boot, "MOST_LEVELS", 400)
    assert np.abs(ranking(positive, score, resamples)["auroc"] - exact).max() < 2e-3


def test_intervals_hold_the_middle_and_refuse_what_hardly_exists() -> None:
    values = np.arange(1001, dtype=np.float64)
    assert interval(values) == pytest.approx((25, 975))
    values[:400] = np.nan
    assert interval(values) is not None
    values[:600] = np.nan
    assert interval(values) is None


def test_means_over_patients_leave_out_those_without_a_figure() -> None:
    resamples = resample(["a", "b", "c"], draws=100, seed=1)
    means = resamples.patient_means(np.array([0.2, np.nan, 0.8]))
    counts = resamples.counts
    with_some = counts[:, [0, 2]].sum(axis=1) > 0
    expected = (counts[:, 0] * 0.2 + counts[:, 2] * 0.8)[with_some] / counts[:, [0, 2]].sum(axis=1)[with_some]
    np.testing.assert_allclose(means[with_some], expected)
    assert np.isnan(means[~with_some]).all()
