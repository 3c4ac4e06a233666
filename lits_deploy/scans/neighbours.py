"""Neighbouring slices as channels: which slices stand beside a slice, and how they become one input.

Channel c of C is the slice c − C // 2 places along the series, so the middle channel is the slice itself. Where the
series ends, its last slice takes the place of what would follow; where a neighbour cannot be used, the next one towards
the middle does, and at last the slice itself.
Knows nothing of how slices are found and decoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from lits_deploy.contract import InputContract
from lits_deploy.scans import Slice
from lits_deploy.scans.picture_series import place_of


def alone(contract: InputContract) -> InputContract:
    """The contract that a reader decodes one slice for: of one channel."""
    return contract if contract.channels == 1 else replace(contract, channels=1)


def stacked(slices: Sequence[Slice | None]) -> Slice:
    """Uint8 [1, S, S] of each channel → [C, S, S]. None: a neighbour that cannot be used; never the middle one."""
    middle = len(slices) // 2
    filled = list(slices)
    for places in (range(middle - 1, -1, -1), range(middle + 1, len(slices))):
        last = slices[middle]
        for place in places:
            last = filled[place] = last if filled[place] is None else filled[place]
    return np.concatenate([one for one in filled if one is not None])


def around(places: Iterable[tuple[Hashable, float | None]], channels: int) -> list[tuple[int, ...]]:
    """For each slice the indices of those that become its channels.

    places: series and position of each slice. A slice without a position stands alone, and so is its own neighbour.
    Slices of one position keep the order they come in.
    """
    series: defaultdict[Hashable, list[tuple[float, int]]] = defaultdict(list)
    found: list[tuple[int, ...]] = []
    for index, (key, position) in enumerate(places):
        found.append((index,) * channels)
        if position is not None:
            series[key].append((position, index))
    half = channels // 2
    for members in series.values():
        order = [index for _, index in sorted(members)]
        for place, index in enumerate(order):
            wanted = range(place - half, place + half + 1)
            found[index] = tuple(order[min(max(near, 0), len(order) - 1)] for near in wanted)
    return found


def around_pictures(paths: Sequence[str], channels: int) -> list[tuple[int, ...]]:
    """`around` for pictures, whose series and places their paths tell (`picture_series`); paths with `/`."""
    places = (place_of(path) for path in paths)
    return around(((series.key, number) for series, number in places), channels)
