"""A pair's lesion rule: what is fitted, on whom, and what it may not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.pair.evidence import PairEvidence, joined, read
from export.pair.figures import measured, nested_scores
from export.pair.fit import MOST_LOST, as_seen, fit, fit_fusion, logistic, points_of
from folded_run import make_folded_run
from lits_deploy.errors import DataError
from lits_deploy.fusion import TUMOUR, no_liver_log_odds
from pair_parts import rewritten

Array = np.ndarray[Any, Any]


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "classifier", tmp_path / "unet"
    for run, model in zip(made, ("resnet18", "unet"), strict=True):
        make_folded_run(run, model=model, patients=9)
    return made


@pytest.fixture
def evidence(runs: tuple[Path, Path]) -> PairEvidence:
    return read(*runs)[2]


def test_logistic_regression_finds_the_numbers_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40_000, 2)) * [3, 1]
    y = rng.random(40_000) < 1 / (1 + np.exp(-(-1 + 0.5 * x[:, 0] + 2 * x[:, 1])))
    np.testing.assert_allclose(logistic(x, y), [-1, 0.5, 2], atol=0.06)


def test_a_witness_may_not_speak_against_itself() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5_000, 2))
    y = rng.random(5_000) < 1 / (1 + np.exp(-(x[:, 0] - x[:, 1])))
    _, first, second = logistic(x, y)
    assert first > 0
    assert second == 0


def test_what_is_wholly_parted_has_finite_slopes() -> None:
    x = np.array([[-2.0, 0], [-1, 0], [1, 5], [2, 6]] * 50)
    found = logistic(x, x[:, 0] > 0)
    assert np.isfinite(found).all()


def test_the_u_net_misses_one_in_a_hundred_lesions_at_most_and_looks_wherever_liver_is_likelier() -> None:
    rng = np.random.default_rng(1)
    target = rng.integers(0, 3, 3_000)
    logits = rng.normal(0, 1, (3_000, 3)).astype(np.float32)
    logits[np.arange(3_000), target] += 2
    counts = np.zeros((3_000, 2), np.int64)
    fusion = fit_fusion(target, logits, counts)
    looks = fusion.looks(logits)
    lost = 1 - looks[target == 2].mean()
    assert MOST_LOST - 0.002 < lost <= MOST_LOST
    assert looks[no_liver_log_odds(logits) < 0].all()
    easy = logits.copy()
    easy[target == 2, 0] -= 20  # no lesion is near the bound
    assert fit_fusion(target, easy, counts).no_liver_below == 1.0


def test_pixels_that_the_u_net_would_not_look_at_do_not_count(evidence: PairEvidence) -> None:
    fusion = fit_fusion(evidence.target, evidence.logits, evidence.counts)
    unseen = ~fusion.looks(evidence.logits)
    assert unseen.any()
    other = evidence.counts.copy()
    other[unseen] = 99_999
    assert fit_fusion(evidence.target, evidence.logits, other) == fusion
    assert (as_seen(fusion, evidence.logits, other)[unseen] == -1).all()


def test_no_promise_rests_on_patients_that_set_the_rule(evidence: PairEvidence) -> None:
    """What a fold's slices are said to be does not change with their own truth."""
    fold = evidence.groups == 1
    scores, looked = nested_scores(evidence)
    reversed_ = evidence.target.copy()
    reversed_[fold] = reversed_[fold][::-1]
    others, still = nested_scores(PairEvidence(**{**vars(evidence), "target": reversed_}))
    for name in scores:
        np.testing.assert_array_equal(scores[name][fold], others[name][fold])
    np.testing.assert_array_equal(looked[fold], still[fold])
    assert (scores["pair"][~fold] != others["pair"][~fold]).any()
    fitted = fit(evidence.target, evidence.logits, evidence.counts)
    found = {point["rule"]: point["sensitivity"]["value"] for point in points_of(evidence, fitted)}
    marked = fitted.marks(evidence.logits, evidence.counts)
    on_all = {rule: marked[rule][evidence.lesion].mean() for rule in found}
    assert found != on_all


def test_both_together_find_more_than_either(evidence: PairEvidence) -> None:
    """The made-up U-Net counts lesions of every size, so that tumour pixels part all; the classifier errs."""
    found = measured(evidence, draws=200)
    assert found["pair"]["lesion_auroc"]["value"] >= found["classifier"]["lesion_auroc"]["value"]
    assert found["looks"]["value"] < 1
    assert (found["slices"], found["patients"], found["series"]) == (270, 9, 9)
    assert found["with_lesion"] == found["series_with_lesion"] == 6
    low, value, high = (found["classifier"]["lesion_auroc"][key] for key in ("low", "value", "high"))
    assert low < value < high


class TestMatching:
    """Both runs have answered the same slices, held out together."""

    def test_rows_are_matched_by_their_names_not_by_their_order(self, runs: tuple[Path, Path]) -> None:
        ours, theirs, together = read(*runs)
        order = np.random.default_rng(0).permutation(len(theirs))
        again = joined(ours, theirs.rows(order))
        np.testing.assert_array_equal(again.counts, together.counts)
        np.testing.assert_array_equal(together.counts[:, TUMOUR], theirs.tumour_pixels)

    def test_other_slices(self, runs: tuple[Path, Path]) -> None:
        make_folded_run(runs[1], model="unet", patients=8)
        with pytest.raises(
            DataError, match=r"answered different slices: 30 are in only one .* patient 008\. Fix: .* same data"
        ):
            read(*runs)

    def test_other_folds(self, runs: tuple[Path, Path]) -> None:
        ours = read(*runs)[0]
        rewritten(runs[1], fold=np.where(ours.fold == 1, 2, np.where(ours.fold == 2, 1, 3)).astype(np.int64))
        with pytest.raises(
            DataError,
            match=r"different folds: 6 patients are in another one, such as 000\. Fix: .* same --folds and --seed",
        ):
            read(*runs)

    def test_other_truth(self, runs: tuple[Path, Path]) -> None:
        ours = read(*runs)[0]
        rewritten(runs[1], target=np.where(np.arange(len(ours)) == 7, 0, ours.target).astype(np.int64))
        with pytest.raises(DataError, match=r"different truth for 1 slices\. Fix: .* same masks"):
            read(*runs)

    def test_runs_the_wrong_way_round(self, runs: tuple[Path, Path]) -> None:
        with pytest.raises(DataError, match=r"unet is not a folded run of a classifier\. Fix: .* then the U-Net's"):
            read(runs[1], runs[0])
