"""Figures of merit against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from lits_deploy.pipeline.decide import softmax
from train.metrics import auroc, balanced_accuracy, classification_summary, confusion_matrix, segmentation_summary_of


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 3, 200)
    probabilities = softmax(rng.normal(size=(200, 3)).astype(np.float32).round(1))  # rounded: ties occur
    predicted = probabilities.argmax(axis=1)
    summary = classification_summary(target, probabilities)
    matrix = confusion_matrix(target, predicted)
    assert matrix.tolist() == sk.confusion_matrix(target, predicted).tolist()
    assert summary["accuracy"] == pytest.approx(sk.accuracy_score(target, predicted))
    assert balanced_accuracy(matrix) == pytest.approx(sk.balanced_accuracy_score(target, predicted))
    assert summary["lesion_auroc"] == pytest.approx(sk.roc_auc_score(target == 2, probabilities[:, 2]))
    assert summary["liver_accuracy"] == pytest.approx(sk.accuracy_score(target > 0, predicted > 0))


def test_dice_and_iou_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    target, labels = rng.integers(0, 2, (3, 8, 8)), rng.integers(0, 2, (3, 8, 8))
    summary = segmentation_summary_of(confusion_matrix(target.ravel(), labels.ravel()))
    assert summary["dice"][1] == pytest.approx(sk.f1_score(target.ravel(), labels.ravel()))
    assert summary["iou"][1] == pytest.approx(sk.jaccard_score(target.ravel(), labels.ravel()))
    assert summary["dice"][2] is None, "a class that never occurs is not scored"


def test_one_class_only_has_no_auroc() -> None:
    assert np.isnan(auroc([1, 1], [0.2, 0.3]))


def test_a_summary_has_none_for_what_does_not_exist() -> None:
    healthy = classification_summary([0, 1], np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]))
    assert (healthy["lesion_auroc"], healthy["per_class_accuracy"]) == (None, [1.0, 1.0, None])
    assert healthy["accuracy"] == healthy["balanced_accuracy"] == 1.0
    nothing = classification_summary([], np.zeros((0, 3)))
    names = ("accuracy", "balanced_accuracy", "liver_accuracy", "lesion_auroc")
    assert [nothing[name] for name in names] == [None] * 4


def test_softmax_applies_temperature() -> None:
    logits = np.array([[2.0, 0.0, -1.0]], np.float32)
    sharp, flat = softmax(logits), softmax(logits, temperature=4.0)
    assert sharp.sum() == pytest.approx(1)
    assert flat.max() < sharp.max()
    assert flat.argmax() == sharp.argmax()
