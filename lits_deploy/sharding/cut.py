"""Series, one after the other, into shards: whole ones, by count.

Where a cut falls depends on the series before it and on nothing else: not on how many will work on the shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar


class Sized(Protocol):
    """A file of a series."""

    @property
    def slices(self) -> int:
        """How many slices are in it, as far as is known."""
        ...


Row = TypeVar("Row", bound=Sized)


def cut(series: Iterable[Sequence[Row]], most: int) -> Iterator[list[Row]]:
    """The files of each shard, in the order in which they come.

    A shard is filled while a further whole series fits into `most` slices; a longer series is a shard of its own. A
    file without slices counts as one: it takes work, too.
    """
    shard: list[Row] = []
    weight = 0
    for one in series:
        more = sum(max(1, row.slices) for row in one)
        if shard and weight + more > most:
            yield shard
            shard, weight = [], 0
        shard += one
        weight += more
    if shard:
        yield shard
