"""Ways to pool a series' slices, and how one is chosen: on answers that were made up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.suspicion.__main__ import scored
from benchmarks.suspicion.grey_levels import moved
from benchmarks.suspicion.page import page
from benchmarks.suspicion.pools import POOLS, SeriesAnswersInOrder, series_of
from export.confidence import fit_temperature
from lits_deploy.fusion import lesion_log_odds
from train.out_of_fold import OutOfFold

OWN = "the same above its own median"
SLICES = 20


def series(patient: int, *, ill: bool, level: float, fold: int) -> SeriesAnswersInOrder:
    """A level of its own, and five slices with a lesion two above it."""
    lesion = np.zeros(SLICES, np.bool_)
    lesion[8:13] = ill
    noise = np.random.default_rng(patient).normal(0, 0.1, SLICES)
    return SeriesAnswersInOrder(f"p{patient}", fold, level + 2.0 * lesion + noise, np.ones(SLICES, np.bool_), lesion)


def many() -> list[SeriesAnswersInOrder]:
    """Levels differ by more than a lesion does, so that only what allows for them ranks these series."""
    levels = np.random.default_rng(0).permutation(np.linspace(-6, 2, 16))
    return [series(k, ill=k % 2 == 0, level=float(level), fold=1 + k % 4 // 2) for k, level in enumerate(levels)]


def test_what_allows_for_a_series_own_level_is_chosen_where_levels_differ() -> None:
    rows = {row["pool"]: row for row in scored(many())}
    assert rows[OWN]["series"]["value"] == 1.0
    assert rows["highest slice"]["series"]["value"] < 0.8
    assert set(rows["chosen out of fold"]["taken"]) == {OWN}
    assert rows["chosen out of fold"]["less_their_lesions"]["value"] > 0.99  # places tie


def test_a_series_less_its_lesions_has_none_and_nothing_beside_them() -> None:
    rest = series(0, ill=True, level=0.0, fold=1).less_its_lesions()
    assert rest is not None
    assert len(rest.odds) == SLICES - 9
    assert not rest.ill
    assert rest.odds.max() < 1


def test_the_first_way_is_the_reports() -> None:
    """A tie goes to it."""
    odds = np.log(np.array([0.1, 0.9, 0.8, 0.7, 0.1]) / np.array([0.9, 0.1, 0.2, 0.3, 0.9]))
    assert next(iter(POOLS.values()))(odds, odds > 0) == pytest.approx(0.8)


def test_answers_become_series_with_a_temperature_of_the_other_folds() -> None:
    rng = np.random.default_rng(3)
    target = np.tile([0, 1, 2], 40).astype(np.int64)
    logits = np.eye(3, dtype=np.float32)[target] * 4 + rng.normal(0, 2, (120, 3)).astype(np.float32)
    logits[60:] *= 3
    patient = np.repeat(["a", "b", "c", "d"], 30)
    answers = OutOfFold(
        patient=patient,
        scan=patient,
        path=np.array([f"{k:03}" for k in range(120)]),
        fold=np.repeat([1, 2], 60).astype(np.int64),
        target=target,
        logits=logits,
    )
    found = series_of(answers, logits)
    assert [one.patient for one in found] == ["a", "b", "c", "d"]
    assert [one.fold for one in found] == [1, 1, 2, 2]
    assert found[0].odds == pytest.approx(lesion_log_odds(logits[:30], fit_temperature(target[60:], logits[60:])))
    assert found[3].odds == pytest.approx(lesion_log_odds(logits[90:], fit_temperature(target[:60], logits[:60])))


def test_grey_values_move_and_the_ends_of_the_window_stay() -> None:
    image = torch.tensor([[0, 1, 100, 250, 255]], dtype=torch.uint8)
    assert moved(image, 20.4).tolist() == [[0, 21, 120, 255, 255]]
    assert moved(image, -20.4).tolist() == [[0, 0, 80, 230, 255]]


def test_the_page_has_every_way() -> None:
    area = {"value": 0.9, "low": 0.8, "high": 1.0}
    text = page(
        {
            "network": "resnet18",
            "folds": 2,
            "data": "made up",
            "synthetic": True,
            "series": 16,
            "series_with_lesion": 8,
            "levels": [{"grey_values": "as they are", "lesion_slice_auroc": area, "series": scored(many())}],
        }
    )
    assert "SYNTHETIC" in text
    assert all(f"| {name} | " in text for name in (*POOLS, "chosen out of fold"))
    assert "Lesion slices: 0.900 (0.800 to 1.000)." in text
