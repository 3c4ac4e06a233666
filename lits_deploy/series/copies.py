"""Which slices are copies of others: the same thing twice, which counts once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from lits_deploy.series.facts import SliceFacts, SliceHeader
from lits_deploy.series.order import SAME_MM, apart, ordered


def copies(facts: Sequence[SliceFacts], members: Sequence[int]) -> tuple[dict[int, int], int]:
    """Copy → original, and how many slices share a SOP instance UID with another that they are no copy of.

    Copies are slices of one SOP instance UID at one position, unless their labels or pixels differ, and slices of equal
    bytes or pixels at one position; of equal bytes also where no header tells a position. The original is that of the
    shortest path: `1.dcm` before `1 (1).dcm`; it is one that was answered where any was. members: by name.
    """
    of: dict[int, int] = {}
    doubtful = 0
    by_instance: dict[tuple[str, int], list[int]] = {}
    for i in _shortest_first(facts, members):
        header = facts[i].header
        if header is not None and header.instance is not None:
            by_instance.setdefault((header.instance, facts[i].index), []).append(i)
    for same in by_instance.values():
        if any(apart(facts[same[0]].header or SliceHeader(), facts[i].header or SliceHeader()) for i in same):
            doubtful += len(same) - 1
            continue  # an exporter that gives one UID to all slices: it tells nothing
        originals: list[int] = []
        for i in same:
            original = next((other for other in originals if _alike(facts[i], facts[other])), None)
            if original is not None:
                of[i] = original
            else:
                doubtful += bool(originals)
                originals.append(i)
    for i, original in _at_one_position(facts, [i for i in members if i not in of]):
        of[i] = original
    return {i: _root(of, original) for i, original in of.items()}, doubtful


def _at_one_position(facts: Sequence[SliceFacts], members: Sequence[int]) -> list[tuple[int, int]]:
    order = ordered(facts, members)
    run: list[int] = []
    found: list[tuple[int, int]] = []
    pairs = list(zip(order.indices, order.coordinates, strict=True))
    known = [(i, at) for i, at in pairs if at is not None]
    for (i, at), after in pairwise([*known, (-1, float("inf"))]):
        run.append(i)
        if after[1] - at > SAME_MM:
            found += _equal(facts, run) if len(run) > 1 else []
            run = []
    nowhere = [i for i, at in pairs if at is None]
    return [*found, *_equal(facts, nowhere, by_pixels=False)]


def _equal(facts: Sequence[SliceFacts], run: Sequence[int], *, by_pixels: bool = True) -> list[tuple[int, int]]:
    first: dict[tuple[str, object, int], int] = {}
    found = []
    for i in _shortest_first(facts, run):
        one = facts[i]
        keys: list[tuple[str, object, int]] = [("bytes", one.content, one.index)] if one.content is not None else []
        keys += [("pixels", one.pixels, 0)] if one.pixels is not None and by_pixels else []
        original = next((first[key] for key in keys if key in first), None)
        if original is not None:
            found.append((i, original))
        for key in keys:
            first.setdefault(key, i if original is None else original)
    return found


def _alike(one: SliceFacts, other: SliceFacts) -> bool:
    """Whether two of one SOP instance UID and place are the same."""
    if (one.header or SliceHeader()).labels != (other.header or SliceHeader()).labels:
        return False
    return one.pixels is None or other.pixels is None or one.pixels == other.pixels


def _shortest_first(facts: Sequence[SliceFacts], members: Iterable[int]) -> list[int]:
    """Those that are to be originals first: one that was answered before one that was not, whatever their paths."""
    return sorted(members, key=lambda i: (facts[i].pixels is None, len(facts[i].path)))


def _root(of: Mapping[int, int], i: int) -> int:
    while i in of:
        i = of[i]
    return i
