"""Operating points: the threshold is set on all patients, the promise by thresholds that were set on other folds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from export.evidence import Evidence
from export.operating_points import RULES, fit, points_of, uncheckable
from lits_deploy.operating_point import OUT_OF_FOLD, OperatingPoint
from lits_deploy.pipeline.decide import SliceDecider


@pytest.fixture
def evidence() -> Evidence:
    """Nine patients in three folds, each fold surer than the one before, so that a threshold of one suits no other."""
    rng = np.random.default_rng(0)
    slices, patients = 300, 9
    target, of = rng.integers(0, 3, slices), np.arange(300) % patients
    logits = rng.normal(0, 1, (slices, 3)) + 1.5 * np.eye(3)[target] + np.outer(of % 3, [0.0, 0.0, 1.0])
    return Evidence(
        target=target,
        logits=logits.astype(np.float32),
        patients=tuple(f"p{number}" for number in of),
        folds=of % 3,
        source=OUT_OF_FOLD,
        data="set",
        split_by="patient",
        synthetic=False,
    )


@pytest.mark.parametrize("rule", RULES)
def test_each_fold_is_decided_by_what_was_fitted_on_the_others(rule: str, evidence: Evidence) -> None:
    assert evidence.folds is not None
    lesion = evidence.lesion
    marked = np.zeros(len(lesion), bool)
    for fold in range(3):
        own = evidence.folds == fold
        others = fit(evidence.target[~own], evidence.logits[~own], (rule,))
        point = OperatingPoint(rule=rule, threshold=others.thresholds[rule])
        decider = SliceDecider(temperature=others.temperature, abstain_below=others.abstain.threshold, point=point)
        marked[own] = [answer.label == 2 for answer in decider.answers(evidence.logits[own])]
    fitted = fit(evidence.target, evidence.logits)
    row = next(point for point in points_of(evidence, fitted) if point["rule"] == rule)
    assert row["sensitivity"]["value"] == pytest.approx(marked[lesion].mean())
    assert row["specificity"]["value"] == pytest.approx((~marked)[~lesion].mean())
    assert row["threshold"] == fitted.thresholds[rule], "of all patients: the one that the bundle keeps"
    own = fitted.marks(evidence.logits)[rule]
    assert (own != marked).any(), "what was fitted on all decides otherwise"


def test_evidence_that_does_not_suffice_says_why(evidence: Evidence) -> None:
    assert uncheckable(evidence) is None
    assert evidence.folds is not None
    alone = dataclasses.replace(evidence, target=np.where(evidence.folds == 1, evidence.target, evidence.target % 2))
    assert uncheckable(alone) == "without one group of patients there are no slices with a lesion, or no others"


def test_without_folds_patients_take_turns_twenty_groups_at_most(evidence: Evidence) -> None:
    single = dataclasses.replace(evidence, folds=None)
    assert len(np.unique(single.groups)) == 9
    many = dataclasses.replace(single, patients=tuple(f"{number:04d}" for number in range(300)))
    assert len(np.unique(many.groups)) == 20
    few = dataclasses.replace(evidence, target=evidence.target[:50])
    assert few.too_little == "50 out of fold slices of 3 classes are too few"
