"""In which order slices lie, and how their positions follow each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from lits_deploy.series.facts import SliceFacts, SliceHeader

By = Literal["position", "slice location", "instance number", "name"]

SAME_MM = 0.01
"""Slices nearer to each other than this lie at one position: headers round positions to about a micrometre."""

GAP = 1.5
"""A distance of more than this many steps is a gap. Half a step is more than any scanner's jitter."""

IRREGULAR = 0.1
"""By how much a distance may differ from the usual one, as a share."""

_DIGITS = re.compile(r"(\d+)")
_COORDINATES: tuple[tuple[By, Callable[[SliceHeader], float | None]], ...] = (
    ("position", lambda header: header.position),
    ("slice location", lambda header: header.location),
    ("instance number", lambda header: header.number),
)


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key of a name by which IM2 goes before IM10."""
    pieces = _DIGITS.split(text)
    return tuple((1, 0, piece) if number % 2 == 0 else (0, int(piece), piece) for number, piece in enumerate(pieces))


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """Slices (indices) from first to last. by: what gave it; coordinates: of each, None where only names tell.

    astray: slices at the end that lack what orders the others.
    """

    indices: tuple[int, ...]
    by: By
    coordinates: tuple[float | None, ...]
    astray: int = 0


def ordered(facts: Sequence[SliceFacts], members: Iterable[int]) -> Ordered:
    """The members, which come by name, in the order of the first of position, Slice Location and Instance Number that
    all of them have. A position that is the same for all gives way to a Slice Location that is not.

    Where all have none, of that which most have: the others follow by name.
    """
    some = list(members)
    best: tuple[int, By, dict[int, float]] = (0, "name", {})
    for by, get in _COORDINATES:
        known = {i: float(value) for i in some if (value := get(facts[i].header or SliceHeader())) is not None}
        if len(known) > best[0] or (by == "slice location" and len(known) == best[0] and _flat(best[2]) > _flat(known)):
            best = len(known), by, known
    count, by, known = best

    def key(i: int) -> tuple[float | str, ...]:
        if i not in known:
            return (1,)  # by name, as they come
        header = facts[i].header or SliceHeader()
        number = header.number is None, header.number or 0
        others = *number, facts[i].index, header.instance or "", facts[i].pixels or 0
        return 0, known[i], *others  # names may be hashed, and so decide nothing among slices at one place

    order = sorted(some, key=key)
    return Ordered(
        indices=tuple(order),
        by=by,
        coordinates=tuple(known.get(i) for i in order),
        astray=len(some) - count if count else 0,
    )


def _flat(known: Mapping[int, float]) -> bool:
    """Whether it is the same for several slices, as where an exporter wrote a place that it did not know."""
    return len(known) > 1 and max(known.values()) - min(known.values()) <= SAME_MM


def apart(one: SliceHeader, other: SliceHeader) -> bool:
    """Whether two slices lie at different positions, as far as their headers tell."""
    both = ((get(one), get(other)) for _, get in _COORDINATES)
    a, b = next(((a, b) for a, b in both if a is not None and b is not None), (0.0, 0.0))
    return abs(a - b) > SAME_MM


def repeats(coordinates: Iterable[float | None]) -> int:
    """How many slices lie where another one does; coordinates in any order."""
    known = sorted(value for value in coordinates if value is not None)
    return sum(b - a <= SAME_MM for a, b in pairwise(known))


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How positions in mm follow each other.

    step_mm: the usual (median) distance; extent_mm: from the first to the last; None where there are not two positions.
    missing: slices that would fit into the gaps. repeated: slices at a position where another one is. irregular:
    distances that are neither a whole number of steps nor nearly the usual one.
    """

    step_mm: float | None = None
    extent_mm: float | None = None
    missing: int = 0
    repeated: int = 0
    irregular: int = 0


def steps_of(positions: Iterable[float]) -> Steps:
    """The steps of a series, its positions in any order."""
    distinct: list[float] = []
    count = 0
    for position in sorted(positions):
        count += 1
        if not distinct or position - distinct[-1] > SAME_MM:
            distinct.append(position)
    repeated = count - len(distinct)
    if len(distinct) < 2:
        return Steps(repeated=repeated)
    distances = [b - a for a, b in pairwise(distinct)]
    step = median(distances)
    return Steps(
        step_mm=round(step, 3),
        extent_mm=round(distinct[-1] - distinct[0], 3),
        missing=sum(round(distance / step) - 1 for distance in distances if distance > GAP * step),
        repeated=repeated,
        irregular=sum(abs(distance / step - max(1, round(distance / step))) > IRREGULAR for distance in distances),
    )
