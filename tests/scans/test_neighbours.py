"""Which slices become the channels of a slice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from lits_deploy.contract import InputContract
from lits_deploy.errors import ContractError
from lits_deploy.scans import Frame
from lits_deploy.scans.neighbours import alone, in_file, stacked
from lits_deploy.series import SliceHeader


def plane(value: int) -> np.ndarray:
    return np.full((1, 2, 2), value, np.uint8)


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


def frames(*values: int | None, at: Sequence[float] | None = None) -> list[Frame]:
    """Frames of these values, None: excluded; at: their positions, rising where nothing is said."""
    return [
        Frame(
            index=index,
            pixels=None if value is None else plane(value),
            excluded=None if value is not None else "no body",
            header=SliceHeader(position=float(index if at is None else at[index]), number=index),
        )
        for index, value in enumerate(values)
    ]


def channels_of(found: Iterable[Frame]) -> dict[int, list[int] | None]:
    return {frame.index: None if frame.pixels is None else frame.pixels[:, 0, 0].tolist() for frame in found}


def with_neighbours(read: list[Frame], channels: int) -> dict[int, list[int] | None]:
    headers = [replace(frame, pixels=None) for frame in read]
    return channels_of(in_file(iter(read), headers, channels))


def test_frames_of_a_file_have_those_beside_them() -> None:
    assert with_neighbours(frames(1, 2, None, 4, 5), 3) == {
        0: [1, 1, 2],
        1: [1, 2, 2],
        2: None,
        3: [4, 4, 5],
        4: [4, 5, 5],
    }
    assert with_neighbours(frames(7), 5) == {0: [7] * 5}
    assert with_neighbours(frames(1, 2), 5) == {0: [1, 1, 1, 2, 2], 1: [1, 1, 2, 2, 2]}
    assert with_neighbours([], 3) == {}


def test_what_only_pixels_withhold_gives_way_to_the_next_towards_the_middle() -> None:
    read = frames(1, 2, 3)
    empty = [read[0], replace(read[1], pixels=None, excluded="no body"), read[2]]
    headers = [replace(frame, pixels=None) for frame in read]
    assert channels_of(in_file(empty, headers, 3)) == {0: [1, 1, 1], 1: None, 2: [3, 3, 3]}


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3), (0, 2, 4, 1, 3)])
def test_frames_go_by_position_whatever_their_order_in_the_file(order: tuple[int, ...]) -> None:
    found = with_neighbours(frames(*order, at=order), 3)
    assert {channels[1]: channels for channels in found.values() if channels} == {
        k: [max(k - 1, 0), k, min(k + 1, 4)] for k in range(5)
    }


def test_frames_of_two_phases_at_the_same_positions_are_not_mixed() -> None:
    read = [
        replace(frame, header=replace(frame.header, labels={"temporal position": frame.index % 2}))
        for frame in frames(10, 20, 11, 21, 12, 22, at=(0, 0, 1, 1, 2, 2))
    ]
    found = with_neighbours(read, 3)
    assert [found[k] for k in (0, 2, 4)] == [[10, 10, 11], [10, 11, 12], [11, 12, 12]]
    assert [found[k] for k in (1, 3, 5)] == [[20, 20, 21], [20, 21, 22], [21, 22, 22]]


def test_frames_of_a_file_are_not_gathered_in_memory() -> None:
    drawn = 0

    def endless() -> Iterator[Frame]:
        nonlocal drawn
        for drawn in range(1, 1000):
            yield Frame(index=drawn - 1, pixels=plane(drawn % 256))

    stream = in_file(endless(), (Frame(index=k, header=SliceHeader(number=k)) for k in range(999)), 5)
    assert next(stream).index == 0
    assert drawn == 3
    kept = stream.gi_frame.f_locals["there"]  # type: ignore[attr-defined]
    for _ in range(500):
        next(stream)
        assert len(kept) <= 5
