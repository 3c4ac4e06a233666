"""Which slices become the channels of a slice."""

from __future__ import annotations

import numpy as np
import pytest

from lits_deploy.contract import InputContract
from lits_deploy.errors import ContractError
from lits_deploy.scans.neighbours import alone, around, around_pictures, stacked


def plane(value: int) -> np.ndarray:
    return np.full((1, 2, 2), value, np.uint8)


def test_channels_are_the_neighbours_and_ends_repeat() -> None:
    places = [("a", 30.0), ("a", 10.0), ("a", 20.0), ("b", 5.0)]
    assert around(places, 3) == [(2, 0, 0), (1, 1, 2), (1, 2, 0), (3, 3, 3)]
    assert around(places, 5) == [(1, 2, 0, 0, 0), (1, 1, 1, 2, 0), (1, 1, 2, 0, 0), (3, 3, 3, 3, 3)]
    assert around(places, 1) == [(0,), (1,), (2,), (3,)]


def test_a_slice_without_a_place_stands_alone() -> None:
    assert around([("a", None), ("a", 1.0), ("a", None)], 3) == [(0, 0, 0), (1, 1, 1), (2, 2, 2)]


def test_pictures_tell_their_series_by_name() -> None:
    paths = [
        "x/volume-1_0010.png",
        "x/volume-1_0009.png",
        "x/volume-2_0009.png",
        "y/volume-1_0011.png",
        "x/volume-1_0100.png",
    ]
    assert around_pictures(paths, 3) == [(1, 0, 4), (1, 1, 0), (2, 2, 2), (3, 3, 3), (0, 4, 4)]


def test_what_cannot_be_used_is_replaced_by_the_nearest_that_can() -> None:
    five = [plane(1), None, plane(3), None, None]
    assert stacked(five)[:, 0, 0].tolist() == [1, 3, 3, 3, 3]
    assert stacked([None, plane(2), plane(3)])[:, 0, 0].tolist() == [2, 2, 3]
    assert stacked([plane(7)]).shape == (1, 2, 2)


def test_the_contract_wants_a_middle() -> None:
    contract = InputContract(window_hu=(-40, 160), channels=3)
    assert alone(contract) == InputContract(window_hu=(-40, 160))
    for channels in (0, 2, -1):
        with pytest.raises(ContractError, match="no slice in the middle"):
            InputContract(window_hu=(-40, 160), channels=channels)
