"""Neighbouring slices as channels: which slices are the neighbours of a slice, and how they become one input.

Channel c of C is the slice c − C // 2 further along its volume, as `lits_deploy.series` says; the middle one is the
slice itself. Where a neighbour cannot be used, the next one towards the middle takes its place, at last the slice
itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from lits_deploy.contract import InputContract
from lits_deploy.scans import Frame, Slice
from lits_deploy.series import SliceFacts, arrange

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
    for indices in (range(middle - 1, -1, -1), range(middle + 1, len(channels))):
        last = channels[middle]
        for index in indices:
            last = filled[index] = filled[index] if usable[index] else last
    return filled


def in_file(frames: Iterable[Frame], headers: Iterable[Frame], channels: int) -> Iterator[Frame]:
    """The frames of a file of many slices, each with its neighbours as its channels: pixels [1, S, S] → [C, S, S].

    headers: of the same frames, which `series.arrange` puts in order, whatever theirs in the file. A frame comes when
    the last of its neighbours has; memory holds those that others wait for: of a file in order `channels`, no more.
    Frames that are excluded stay as they are.
    """
    facts = [SliceFacts(path="", index=frame.index, header=frame.header) for frame in headers]
    channels_of: dict[int, Sequence[int]] = {}
    for volume in arrange(facts):
        channels_of |= volume.neighbours(channels)
    complete: defaultdict[int, list[int]] = defaultdict(list)
    needed: dict[int, int] = {}
    for index, others in channels_of.items():
        complete[max(others)].append(index)
        needed |= {other: max(needed.get(other, 0), *others) for other in others}
    there: dict[int, Frame] = {}
    for frame in frames:
        there[frame.index] = frame
        for index in complete[frame.index]:
            middle = there[index]
            slices = [there[other].pixels for other in channels_of[index]]
            yield middle if middle.pixels is None else replace(middle, pixels=stacked(slices))
        for index in [index for index in there if needed[index] <= frame.index]:
            del there[index]
