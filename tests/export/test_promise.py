"""Promises: no threshold is checked on patients that set it, and the intervals hold the truth on simulated patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.promise_coverage import coverage, simulated
from export.bootstrap import resample
from export.promise import nested, promises, share, tail_of

Bools = npt.NDArray[np.bool_]


def test_a_rule_that_knows_its_own_patients_by_heart_promises_nothing() -> None:
    """Planted optimism: on the slices that set it the rule is perfect, elsewhere it marks none."""
    drawn = simulated(np.random.default_rng(0), 12)
    by_heart = nested(drawn.patient % 4, lambda on: {"heart": drawn.lesion & on})
    assert not by_heart["heart"].any()
    promise = promises(by_heart, drawn.lesion, drawn.patient)["heart"]
    assert promise["sensitivity"]["value"] == 0.0
    assert promise["patients"]["found"] == 0


@pytest.mark.parametrize("seed", range(10))
def test_what_a_fold_shows_has_no_part_in_how_it_is_decided(seed: int) -> None:
    """With any other truth and scores in a fold, a slice of it is decided as before, wherever its own score lies."""
    rng = np.random.default_rng(seed)
    drawn = simulated(rng, 10)
    groups = drawn.patient % 5
    own, slice_ = groups == seed % 5, int(np.flatnonzero(groups == seed % 5)[0])
    other = replace(
        drawn,
        lesion=np.where(own, rng.random(len(own)) < 0.5, drawn.lesion),
        score=np.where(own, rng.normal(9, 9, len(own)), drawn.score),
    )
    decisions = []
    for value in np.sort(drawn.score)[:: len(own) // 40]:  # so many probes show where its threshold lies
        both = []
        for slices in (drawn, other):
            score = slices.score.copy()
            score[slice_] = value
            marked = nested(groups, replace(slices, score=score).marks)
            both.append([bool(found[slice_]) for found in marked.values()])
        assert both[0] == both[1]
        decisions.append(both[0])
    assert (np.any(decisions, axis=0) & ~np.all(decisions, axis=0)).all(), "every rule's threshold lay among the probes"


def test_a_threshold_on_noise_looks_good_where_it_was_set_and_promises_chance() -> None:
    on_its_own, promised = [], []
    for seed in range(30):
        drawn = simulated(np.random.default_rng(seed), 8, apart=0.0)  # scores tell patients, and nothing of lesions
        own, lesion = drawn.marks(np.ones(len(drawn.lesion), bool))["balanced"], drawn.lesion
        on_its_own.append(own[lesion].mean() + (~own)[~lesion].mean())
        found = promises(nested(drawn.patient, drawn.marks), lesion, drawn.patient)["balanced"]
        promised.append(found["sensitivity"]["value"] + found["specificity"]["value"])
    assert np.mean(on_its_own) > 1.1
    assert np.mean(promised) < 1.03


@pytest.mark.parametrize(("patients", "apart"), [(21, 2.5), (40, 2.5), (21, 4.0)])
def test_promises_hold_the_truth_as_often_as_they_say(patients: int, apart: float) -> None:
    shares = np.array([*coverage(patients, apart=apart, draws=120).values()])
    assert shares.min() >= 0.85
    assert 0.92 <= shares.mean() <= 0.985


def test_intervals_are_over_patients_not_slices() -> None:
    drawn = simulated(np.random.default_rng(3), 8)
    right = {"x": drawn.score >= 1.0}
    once = promises(right, drawn.lesion, drawn.patient)["x"]
    often = promises({"x": np.tile(right["x"], 3)}, np.tile(drawn.lesion, 3), np.tile(drawn.patient, 3))["x"]
    for name in ("sensitivity", "specificity"):
        assert often[name] == pytest.approx(once[name])
        assert once[name]["high"] - once[name]["low"] > 0.02


def test_few_patients_and_unequal_ones_widen_an_interval() -> None:
    assert tail_of(5) < tail_of(21) < tail_of(1000) < 0.025
    assert tail_of(1000) == pytest.approx(0.025, abs=2e-4)
    assert tail_of(21) == pytest.approx(0.0163, abs=1e-4)  # Φ(−√(21/20)·t₀.₉₇₅,₂₀), by scipy.stats


def test_a_figure_that_no_patient_contradicts_is_no_certainty() -> None:
    lesion, of = np.array([True] * 40 + [False] * 40), np.tile(np.repeat(np.arange(10), 4), 2)
    resamples = resample([str(p) for p in of])
    every, none = share(lesion, lesion, resamples), share(~lesion, lesion, resamples)
    assert (every["value"], every["high"], none["value"], none["low"]) == (1.0, 1.0, 0.0, 0.0)
    assert every["low"] == pytest.approx(
        0.025 ** (1 / 10)
    )  # ten patients of whom none is wrong, by Clopper and Pearson
    assert none["high"] == pytest.approx(1 - 0.025 ** (1 / 10))


def test_one_patient_has_no_interval() -> None:
    lesion = np.array([True, True, False, False])
    found = share(np.array([True, False, False, False]), lesion, resample(["a", "a", "b", "b"]))
    assert found == {"value": 0.5, "low": None, "high": None}


def test_patients_are_counted_by_their_own_lesions() -> None:
    #        a: a lesion, found   b: a lesion missed, another slice marked   c: none, one marked   d: none, none marked
    of = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    lesion = np.array([1, 0, 1, 0, 0, 0, 0, 0], bool)
    marked = np.array([1, 0, 0, 1, 1, 0, 0, 0], bool)
    patients = promises({"x": marked}, lesion, of)["x"]["patients"]
    assert patients == {"with_lesion": 2, "found": 1, "without": 2, "marked": 1}
