"""The thesis's numbers, held against one another: what adds up, and what is a misprint."""

from __future__ import annotations

import pytest

from train.recipes import thesis_numbers
from train.recipes.fig18 import correlation, window
from train.recipes.table8 import v100_epochs


def test_table1_adds_up_but_for_validate() -> None:
    sums = {split: sum(classes) - slices for split, (slices, _, classes, _) in thesis_numbers.TABLE1.items()}
    assert sums == {"train": 0, "validate": -1, "test": 0}
    assert sum(row[0] for row in thesis_numbers.TABLE1.values()) == thesis_numbers.TABLE1_TOTAL
    for slices, share, classes, shares in thesis_numbers.TABLE1.values():
        assert round(100 * slices / thesis_numbers.TABLE1_TOTAL, 2) == pytest.approx(share, abs=0.011)
        assert [round(100 * count / sum(classes), 2) for count in classes] == pytest.approx(list(shares), abs=0.011)


def test_tables_5_and_6_differ_in_resnet18_only() -> None:
    five = thesis_numbers.TABLE5_PARAMETERS
    assert {name for name in five if five[name] != thesis_numbers.TABLE6[name].parameters} == {"resnet18"}


def test_table8_is_of_validate() -> None:
    always = {split: classes[0] / sum(classes) for split, (_, _, classes, _) in thesis_numbers.TABLE1.items()}
    for reached in thesis_numbers.TABLE8[1e-3]["alexnet"]:
        assert reached == round(100 * always["validate"], 2)
    answered = round(100 * always["test"], 2)
    assert answered == 60.50


def test_table7_correlates_much_more_than_all_epochs() -> None:
    assert correlation(*thesis_numbers.TABLE7) == pytest.approx(-0.938, abs=0.0005)
    assert pytest.approx(-0.167, abs=0.0005) == thesis_numbers.TABLE7_CORRELATION
    assert window(30) == (7, 15)
    assert window(4) == (1, 2)


def test_correlation_of_what_does_not_vary_does_not_exist() -> None:
    assert correlation([0.0, 0.0, 0.0], [0.1, 0.2, 0.3]) is None
    assert correlation([0.1, None], [0.2, 0.4]) is None
    assert correlation([], []) is None
    assert correlation([0.1, 0.2, None, 0.4], [0.4, 0.3, 0.9, 0.1]) == pytest.approx(-1.0)


def test_table9_is_no_figure_over_all_pixels() -> None:
    for dice, iou in ((row[2 * k] / 100, row[2 * k + 1] / 100) for row in thesis_numbers.TABLE9[:1] for k in (1, 2)):
        assert abs(dice / (2 - dice) - iou) > 0.005


def test_a_v100_begins_so_many_epochs_in_time() -> None:
    assert [v100_epochs("alexnet", limit) for limit in (10, 15, 20)] == [17, 25, 33]
    assert [v100_epochs("resnet50", limit) for limit in (10, 15, 20)] == [6, 8, 11]
