"""Rows of a plan as a `scans.listing.Listing`: what a shard answers, and what a merge takes on.

A shard's listing has its own scans alone; a merge's has all of them, and what the walk that planned them saw besides.
Files are as they were when they were planned; `changed` says how many are so no more.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from lits_deploy.scans.containment import Within, real_names
from lits_deploy.scans.discover import ScanRecord
from lits_deploy.scans.fetch import is_object, is_there, version_at
from lits_deploy.scans.paths import unescape
from lits_deploy.sharding.record import JobRecord
from lits_deploy.sharding.rows import PlannedRow

_THREADS, _LOT = 16, 128  # to look at files on a network share, or in a store


@dataclass(kw_only=True)
class PlannedListing:
    """rows: gives those of the shards in question. whole: they are all of the plan's, so what was seen besides counts.
    hidden: messages name no path."""

    record: JobRecord
    rows: Callable[[], Iterable[PlannedRow]]
    whole: bool
    hidden: bool = False
    only: None = None

    def __post_init__(self) -> None:
        is_there.cache_clear()
        record, whole = self.record, self.whole
        self.base, self.names = record.base, list(record.names)
        self.recursive = bool(record.options.get("recursive", True))
        anywhere = record.options.get("follow_links") or is_object(self.base)  # a store has no links
        self.within: Within = None if anywhere else real_names(record.roots)
        self.others = Counter(record.others if whole else {})
        self.own = record.own if whole else 0
        self.tops, self.mounts = (set(record.tops), set(record.mounts)) if whole else (set[str](), set[str]())
        self.unlisted = dict(record.unlisted) if whole else {}

    @property
    def where(self) -> str:
        """For messages."""
        return "in the plan"

    def real_path(self, path: str) -> str:
        """The operating system's path of a row's path, or its object's URL."""
        return os.path.join(self.base, unescape(path))  # noqa: PTH118 - Path would cost more, once per file

    def __iter__(self) -> Iterator[ScanRecord]:
        return (row.found for row in self.rows())


def changed(listing: PlannedListing) -> tuple[int, int]:
    """How many of a listing's files are not as they were planned (size and time; of a zip its time), or gone; and how
    many there are. Files that were failures already do not count."""

    def differ(rows: list[PlannedRow]) -> int:
        return sum(not _same(row, listing.real_path(row.container or row.path)) for row in rows)

    rows = (row for row in listing.rows() if row.reason is None)
    differing = count = 0
    with ThreadPoolExecutor(_THREADS) as threads:
        while lots := [lot for _ in range(4 * _THREADS) if (lot := list(islice(rows, _LOT)))]:
            differing += sum(threads.map(differ, lots))
            count += sum(map(len, lots))
    return differing, count


def _same(row: PlannedRow, path: str) -> bool:
    if is_object(path):
        return version_at(path) == row.mtime_ns
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return status.st_mtime_ns == row.mtime_ns and (row.container is not None or status.st_size == row.size)
