"""Which slices become the channels of a slice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from lits_deploy.contract import InputContract
from lits_deploy.errors import ContractError
from lits_deploy.scans import Frame
from lits_deploy.scans.neighbours import alone, around, in_file, stacked
from lits_deploy.scans.picture_series import place_of


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
    places = ((series.key, number) for series, number in map(place_of, paths))
    assert around(places, 3) == [(1, 0, 4), (1, 1, 0), (2, 2, 2), (3, 3, 3), (0, 4, 4)]


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


def test_a_copy_of_a_slice_is_not_its_neighbour() -> None:
    twice = [("a", 1.0), ("a", 2.0), ("a", 3.0)] * 2
    assert around(twice, 3) == [(0, 0, 1), (0, 1, 2), (1, 2, 2), (3, 3, 4), (3, 4, 5), (4, 5, 5)]
    assert around([*twice[:3], ("a", 2.0)], 3) == [(0, 0, 1), (0, 1, 2), (1, 2, 2), (0, 3, 2)]


def frames(*values: int | None, falling: bool = False) -> list[Frame]:
    """Frames of these values; None: withheld."""
    return [
        Frame(
            index=index,
            pixels=None if value is None else plane(value),
            withheld=None if value is not None else "no body",
            position=100.0 - index if falling else None,
        )
        for index, value in enumerate(values)
    ]


def channels_of(found: list[Frame]) -> list[list[int] | None]:
    return [None if frame.pixels is None else frame.pixels[:, 0, 0].tolist() for frame in found]


def test_frames_of_a_file_have_those_beside_them() -> None:
    found = list(in_file(frames(1, 2, None, 4, 5), 3))
    assert [frame.index for frame in found] == list(range(5))
    assert found[2].withheld == "no body"
    assert channels_of(found) == [[1, 1, 2], [1, 2, 2], None, [4, 4, 5], [4, 5, 5]]
    assert channels_of(list(in_file(frames(7), 5))) == [[7] * 5]
    assert channels_of(list(in_file(frames(1, 2), 5))) == [[1, 1, 1, 2, 2], [1, 1, 2, 2, 2]]
    assert list(in_file([], 3)) == []


def test_a_file_from_head_to_feet_is_turned_round() -> None:
    assert channels_of(list(in_file(frames(3, 2, 1, falling=True), 3))) == [[2, 3, 3], [1, 2, 3], [1, 1, 2]]


def test_frames_of_a_file_are_not_gathered_in_memory() -> None:
    drawn = 0

    def endless() -> Iterator[Frame]:
        nonlocal drawn
        for drawn in range(1, 1000):
            yield Frame(index=drawn - 1, pixels=plane(drawn % 256))

    stream = in_file(endless(), 5)
    assert next(stream).index == 0
    assert drawn == 3
