"""Series, one after the other, into shards: whole ones, by count.

Where a cut falls depends on the series before it and on nothing else: not on how many will work on the shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lits_deploy.sharding.rows import PlannedRow


def cut(series: Iterable[Sequence[PlannedRow]], most: int) -> Iterator[list[PlannedRow]]:
    """The files of each shard, in the order in which they come.

    A shard is filled while a further whole series fits into `most` slices; a longer series is a shard of its own. A
    file without slices counts as one: it takes work, too.
    """
    shard: list[PlannedRow] = []
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
