"""What a bundle of a folded training says beside its files' figures; a stranger's manifest is read with care."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from sklearn import metrics as sk

from export.procedure import procedure
from folded_run import make_folded_run
from lits_deploy.procedure import (
    AGREEMENT,
    COST,
    PROCEDURE,
    agreement_line,
    agreement_of,
    cost_line,
    cost_of,
    made_of,
    procedure_line,
    procedure_of,
    procedure_on,
    taught_by_all,
)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    answers = make_folded_run(tmp_path_factory.mktemp("procedure") / "run")
    return {PROCEDURE: procedure(answers, draws=200)}


def test_figures_are_of_all_patients_with_intervals_over_them(metrics: dict[str, Any], tmp_path: Path) -> None:
    answers, found = make_folded_run(tmp_path / "run"), procedure_of(metrics)
    assert found is not None
    assert answers.logits is not None
    value, (low, high), (worst, best) = found["shown"]["accuracy"]
    assert value == pytest.approx(sk.accuracy_score(answers.target, answers.logits.argmax(axis=1)))
    assert low < value < high
    assert worst <= value <= best
    p2 = metrics[PROCEDURE]["lesion_auroc"]
    low, high = metrics[PROCEDURE]["intervals"]["lesion_auroc"]
    assert low < p2 < high
    text = f"{procedure_on(found)}: {procedure_line(found)}"
    assert text.startswith("out of fold, data: 210 slices of 7 patients, each answered by the one of 3 networks that")
    assert f"accuracy {value:.3f} (" in text


def test_phantoms_are_marked(metrics: dict[str, Any]) -> None:
    marked = {PROCEDURE: {**metrics[PROCEDURE], "synthetic": True}}
    found = procedure_of(marked)
    assert found is not None
    assert procedure_on(found).endswith("SYNTHETIC")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("folds", 1),
        ("folds", "5"),
        ("slices", None),
        ("data", 7),
        ("accuracy", "high"),
        ("intervals", []),
        ("intervals", {"accuracy": [1]}),
        ("by_fold", {"accuracy": "x"}),
    ],
)
def test_what_is_not_as_it_must_be_counts_as_not_there(metrics: dict[str, Any], key: str, value: object) -> None:
    spoiled = copy.deepcopy(metrics)
    spoiled[PROCEDURE][key] = value
    assert procedure_of(spoiled) is None
    assert procedure_of({}) is None
    assert procedure_of({PROCEDURE: "good"}) is None


def test_which_network_it_is() -> None:
    best = {"taken": "best", "folds": 3, "fold": 2, "judged_by": "balanced accuracy", "held_out": [0.5, 0.6, 0.9]}
    text = made_of({"folds": best})
    assert text is not None
    assert "fold 2 of 3" in text
    assert "balanced accuracy 0.600; the folds have 0.500 to 0.900" in text
    assert made_of({"folds": {**best, "fold": 9}}) == "One network of a folded training of 3."
    assert "All 3 networks" in (made_of({"folds": {**best, "taken": "average"}}) or "")
    assert "trained on all patients" in (made_of({"folds": {**best, "taken": "all"}}) or "")
    for other in ({}, {"folds": 5}, {"folds": {"taken": "luck", "folds": 3}}):
        assert made_of(other) is None
    assert [taught_by_all({"folds": {**best, "taken": taken}}) for taken in ("best", "average", "all")] == [
        False,
        True,
        True,
    ]
    assert not taught_by_all({})


def test_cost_and_agreement_in_words() -> None:
    cost = {
        "ms_per_slice": 21.27,
        "one_network_ms": 4.4,
        "ratio": 4.83,
        "networks": 5,
        "batch": 8,
        "runtime": "onnxruntime 1",
        "device": "cpu",
    }
    assert cost_line(cost).startswith(
        "21.3 ms a slice, where one of its 5 networks takes 4.4 (4.8 times; onnxruntime 1"
    )
    assert cost_of({COST: cost}) == cost
    assert cost_of({COST: {**cost, "ratio": "5"}}) is None
    assert cost_of({COST: {**cost, "device": 0}}) is None
    agreement = {
        "slices": 512,
        "origin": "lits/test",
        "same_class": 0.973,
        "folds": [0.93, 0.96],
        "least": 0.885,
        "mean_delta": 0.02,
    }
    assert "97.3% of 512 slices (lits/test), mean |Δp| 0.020" in agreement_line(agreement)
    assert agreement_of({AGREEMENT: agreement}) == agreement
    assert agreement_of({AGREEMENT: {**agreement, "folds": []}}) is None
    assert agreement_of({}) is None
