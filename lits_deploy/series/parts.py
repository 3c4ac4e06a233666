"""Phases and reconstructions under one series UID: which slices are a volume of their own.

Two slices at one position cannot be of one volume, nor can two sets of slices that interleave. What tells them apart is
looked for in the labels of their headers (CRITERIA), then in the order of acquisition and of instance numbers: where
positions begin again, another part does. Acquisitions that lie one behind the other stay one volume.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from lits_deploy.series.facts import CRITERIA, SliceFacts, SliceHeader, Value
from lits_deploy.series.order import GAP, SAME_MM, ordered, repeats, steps_of

_DAY = 86400.0
_LEAST = 4  # slices of a phase that is known by nothing but its turns in space


@dataclass(frozen=True, kw_only=True)
class Part:
    """A volume (indices of its slices). label: what tells it from the others (`acquisition 1`), or empty. doubtful:
    slices lie at one position, and nothing tells them apart."""

    members: tuple[int, ...]
    label: str = ""
    doubtful: bool = False


def parts(facts: Sequence[SliceFacts], members: Sequence[int]) -> list[Part]:
    """The parts of slices that are of one patient, geometry and series UID, copies left out. What lacks the others'
    coordinate goes with the first. members: by name."""
    order = ordered(facts, members)
    at = {i: value for i, value in zip(order.indices, order.coordinates, strict=True) if value is not None}
    rest = [i for i in order.indices if i not in at]
    whole = [i for i in order.indices if i in at]
    found = [Part(members=tuple(whole))]
    for criterion in CRITERIA:
        found = [finer for part in found for finer in _by_label(facts, part, criterion, at)]
    numbers = _known(facts, whole, lambda header: header.number)
    for by, key in (("acquisition time", _clocks(facts, whole)), ("instance number", numbers)):
        found = [finer for part in found for finer in _by_echo(part, by, key, at)]
    found = [
        Part(members=part.members, label=part.label, doubtful=repeats(at[i] for i in part.members) > 0)
        for part in found
    ]
    first, *others = found
    return [Part(members=(*first.members, *rest), label=first.label, doubtful=first.doubtful), *others]


def _by_label(facts: Sequence[SliceFacts], part: Part, criterion: str, at: Mapping[int, float]) -> list[Part]:
    by_value: dict[Value | None, list[int]] = {}
    for i in part.members:
        by_value.setdefault((facts[i].header or SliceHeader()).labels.get(criterion), []).append(i)
    if len(by_value) < 2:
        return [part]
    again = repeats(at[i] for i in part.members)
    if not again and (None in by_value or min(map(len, by_value.values())) < 2):
        return [part]  # nothing is at one position, and single slices of another label are no volume
    volumes: list[tuple[Value | None, list[int]]] = []
    taken: list[float] = []  # the positions of the last of them, sorted
    for value, group in sorted(by_value.items(), key=lambda item: _label_order(facts, item[0], item[1], at)):
        positions = sorted(at[i] for i in group)
        if not volumes or not _fits(positions, taken):
            volumes.append((value, []))
            taken = []
        volumes[-1][1].extend(group)
        for position in positions:
            insort(taken, position)
    if len(volumes) < 2 or not _better(part, [group for _, group in volumes], at):
        return [part]
    return [
        Part(members=tuple(group), label=_join(part.label, _said(criterion, value, number)))
        for number, (value, group) in enumerate(volumes, start=1)
    ]


def _by_echo(part: Part, by: str, key: Mapping[int, float], at: Mapping[int, float]) -> list[Part]:
    """Split where positions begin again, in the order of `key`."""
    if any(i not in key for i in part.members):
        return [part]
    if not repeats(at[i] for i in part.members):
        return _by_interleaving(part, by, key, at)
    if by == "instance number" and len({key[i] for i in part.members}) < len(part.members):
        return [part]  # numbers that begin again themselves tell nothing: slices of two phases would take turns
    volumes: list[list[int]] = [[]]
    seen: list[float] = []
    for i in sorted(part.members, key=lambda i: (key[i], at[i])):
        if _there(at[i], seen):
            cut = _cut([*volumes[-1], i], key, at)
            if cut is None:
                return [part]
            volumes.append(volumes[-1][cut:])
            del volumes[-2][cut:]
            seen = sorted(at[other] for other in volumes[-1])
        volumes[-1].append(i)
        insort(seen, at[i])
    lone = min(map(len, volumes)) == 1 and len(part.members) > 2  # a slice that was done again is no volume
    if lone or not _better(part, volumes, at) or len(volumes) != _most_at_one(at[i] for i in part.members):
        return [part]
    return [
        Part(members=tuple(group), label=_join(part.label, f"{by} {number}"))
        for number, group in enumerate(volumes, start=1)
    ]


def _by_interleaving(part: Part, by: str, key: Mapping[int, float], at: Mapping[int, float]) -> list[Part]:
    """Split where positions jump in the order of `key`, if all that lies between jumps takes turns in space.

    Each at one distance: numbers that an anonymiser drew by lot tell no phases.
    """
    order = sorted(part.members, key=lambda i: (key[i], at[i]))
    steps = [abs(at[i] - at[before]) for before, i in pairwise(order)]
    usual = GAP * median(steps or [0.0])
    cuts = [n for n, step in enumerate(steps, start=1) if step > usual and key[order[n]] != key[order[n - 1]]]
    runs = [order[start:end] for start, end in pairwise([0, *cuts, len(order)])]
    if part.label or len(runs) < 2 or min(map(len, runs)) < _LEAST:
        return [part]
    positions = [sorted(at[i] for i in run) for run in runs]
    if any(found.missing or found.irregular for found in map(steps_of, positions)) or any(
        _fits(one, other) for number, one in enumerate(positions) for other in positions[:number]
    ):
        return [part]
    return [
        Part(members=tuple(run), label=_join(part.label, f"{by} {number}")) for number, run in enumerate(runs, start=1)
    ]


def _cut(run: Sequence[int], key: Mapping[int, float], at: Mapping[int, float]) -> int | None:
    """Where the last slice's volume begins in a run that has its position already, None where `key` does not tell.

    Phases need not have one extent: a later one may begin where no slice was, so it begins at the largest jump.
    """
    twin = max(n for n, i in enumerate(run[:-1]) if abs(at[i] - at[run[-1]]) <= SAME_MM)
    steps = [abs(at[i] - at[before]) for before, i in pairwise(run)]
    usual = GAP * median(steps)
    ends = [n for n in range(twin + 1, len(run)) if key[run[n]] != key[run[n - 1]]]
    return max(ends, key=lambda n: (steps[n - 1] if steps[n - 1] > usual else 0.0, n), default=None)


def _fits(group: Sequence[float], volume: Sequence[float]) -> bool:
    """Whether positions can be of a volume (both sorted): none is there already, and the two do not interleave."""
    if any(_there(position, volume) for position in group):
        return False
    if len(group) == 1:
        return True  # step and shoot: every slice is an acquisition of its own
    inside = bisect_left(group, volume[-1]) - bisect_right(group, volume[0])
    around = bisect_left(volume, group[-1]) - bisect_right(volume, group[0])
    if inside <= 0 or around <= 0:
        return True  # one behind the other, or one in a gap of the other
    return 2 * inside <= len(group) and 2 * around <= len(volume)


def _there(position: float, taken: Sequence[float]) -> bool:
    first = bisect_left(taken, position - SAME_MM)
    return first < len(taken) and taken[first] <= position + SAME_MM


def _better(part: Part, volumes: Sequence[Sequence[int]], at: Mapping[int, float]) -> bool:
    """Whether splitting explains the series: fewer slices at one position, and volumes, not single slices."""
    before, after = repeats(at[i] for i in part.members), sum(repeats(at[i] for i in some) for some in volumes)
    if before and after >= before:
        return False
    return 2 * len(volumes) <= len(part.members) or len(volumes) == _most_at_one(at[i] for i in part.members)


def _most_at_one(positions: Iterable[float]) -> int:
    most = run = 1
    for a, b in pairwise(sorted(positions)):
        run = run + 1 if b - a <= SAME_MM else 1
        most = max(most, run)
    return most


def _label_order(
    facts: Sequence[SliceFacts], value: Value | None, group: Sequence[int], at: Mapping[int, float]
) -> tuple[object, ...]:
    """By the label where it is a number, else as the slices were numbered, or lie; never by the names of files."""
    number = float(value) if isinstance(value, (int, float)) else 0.0
    numbers = [n for i in group if (n := (facts[i].header or SliceHeader()).number) is not None]
    return value is None, number, min(numbers, default=0), min(at[i] for i in group), len(group), str(value)


def _said(criterion: str, value: Value | None, number: int) -> str:
    """A label as people read it: numbers as they are, text (which may be anything) by its rank."""
    if value is None:
        return f"no {criterion}"
    return f"{criterion} {number if isinstance(value, str) else format(value, '.10g')}"


def _join(*labels: str) -> str:
    return ", ".join(label for label in labels if label)


def _clocks(facts: Sequence[SliceFacts], members: Iterable[int]) -> dict[int, float]:
    """Seconds since the longest pause of the day: a scan may run through midnight."""
    clocks = _known(facts, members, lambda header: header.clock)
    times = sorted(set(clocks.values()))
    if len(times) < 2:
        return clocks
    pauses = [(b - a, b) for a, b in pairwise([*times, times[0] + _DAY])]
    start = max(pauses)[1] % _DAY
    return {i: (value - start) % _DAY for i, value in clocks.items()}


def _known(
    facts: Sequence[SliceFacts], members: Iterable[int], get: Callable[[SliceHeader], float | None]
) -> dict[int, float]:
    return {i: float(value) for i in members if (value := get(facts[i].header or SliceHeader())) is not None}
