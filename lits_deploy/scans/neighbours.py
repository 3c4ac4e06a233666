"""Neighbouring slices as channels: which slices stand beside a slice, and how they become one input.

Channel c of C is the slice c − C // 2 places along the series, so the middle channel is the slice itself. Where the
series ends, its last slice takes the place of what would follow; where a neighbour cannot be used, the next one towards
the middle does, and at last the slice itself.
Knows nothing of how slices are found and decoded.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby, repeat
from typing import TypeVar

import numpy as np

from lits_deploy.contract import InputContract
from lits_deploy.scans import Frame, Slice

T = TypeVar("T")


def alone(contract: InputContract) -> InputContract:
    """The contract that a reader decodes one slice for: of one channel."""
    return contract if contract.channels == 1 else replace(contract, channels=1)


def check_alone(contract: InputContract) -> None:
    """Raise ValueError where a reader is given another contract than `alone`: a slip of its caller."""
    if contract.channels != 1:
        raise ValueError(f"a slice has one channel, not {contract.channels}: give readers neighbours.alone(contract)")


def stacked(slices: Sequence[Slice | None]) -> Slice:
    """Uint8 [1, S, S] of each channel → [C, S, S]. None: a neighbour that cannot be used; never the middle one."""
    filled = replaced(slices, [one is not None for one in slices])
    return np.concatenate([one for one in filled if one is not None])


def replaced(channels: Sequence[T], usable: Sequence[bool]) -> list[T]:
    """The channels, each that is not usable by the next one towards the middle; the middle one stays."""
    middle, filled = len(channels) // 2, list(channels)
    for places in (range(middle - 1, -1, -1), range(middle + 1, len(channels))):
        last = channels[middle]
        for place in places:
            last = filled[place] = filled[place] if usable[place] else last
    return filled


def around(places: Iterable[tuple[Hashable, float | None]], channels: int) -> list[tuple[int, ...]]:
    """For each slice the indices of those that become its channels.

    places: series and position of each slice. A slice without a position stands alone, and so is its own neighbour.
    Of several slices at one position (a copy of a series, phases of a contrast agent) the n-th is beside the n-th, or
    the last, of the next position: never a slice beside its own copy.
    """
    series: defaultdict[Hashable, list[tuple[float, int]]] = defaultdict(list)
    found: list[tuple[int, ...]] = []
    for index, (key, position) in enumerate(places):
        found.append((index,) * channels)
        if position is not None:
            series[key].append((position, index))
    half = channels // 2
    for members in series.values():
        order = [[index for _, index in group] for _, group in groupby(sorted(members), key=lambda one: one[0])]
        for place, here in enumerate(order):
            near = [order[min(max(place + step, 0), len(order) - 1)] for step in range(-half, half + 1)]
            for nth, index in enumerate(here):
                found[index] = tuple(there[min(nth, len(there) - 1)] for there in near)
    return found


def in_file(frames: Iterable[Frame], channels: int) -> Iterator[Frame]:
    """The frames of a file of many slices, each with those beside it as its channels: pixels [1, S, S] → [C, S, S].

    A file that is written from head to feet (its positions fall) is turned round: channels rise along the series.
    Frames that are withheld stay as they are, and are beside nobody. `channels` frames are in memory, no more.
    """
    half = channels // 2
    near: deque[Frame | None] = deque([None] * half, channels)
    after: Iterable[Frame | None] = repeat(None, half)
    for frame in chain(frames, after):
        near.append(frame)
        middle = near[half] if len(near) == channels else None
        if middle is None:
            continue
        if middle.pixels is not None:
            slices = [None if one is None else one.pixels for one in near]
            middle = replace(middle, pixels=stacked(slices[::-1] if _falls(near) else slices))
        yield middle


def _falls(near: Iterable[Frame | None]) -> bool:
    positions = [one.position for one in near if one is not None and one.position is not None]
    return len(positions) > 1 and positions[-1] < positions[0]
