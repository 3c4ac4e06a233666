"""Pixels that a report may want, kept while their files go by: the peaks of the most suspicious volumes.

A file of many slices costs as much to decode for six of them as for all. Nothing depends on what is kept here: what is
missing is decoded again, and gives the same pixels. Memory is bounded: `MOST` slices of a file whose answers are still
coming, `choose.SLICES` of each of the `choose.SERIES` most suspicious files that are done.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from lits_deploy.report import choose
from lits_deploy.report.choose import Key
from lits_deploy.scans import Slice
from lits_deploy.studies import suspicion

MOST = 96
"""Slices of a file that are held until all its answers are there: 6 MB of 256×256 for each channel."""


@dataclass
class _Coming:
    """A file whose answers are coming: all lesion probabilities, and the pixels of the highest."""

    lesion: dict[int, float] = field(default_factory=dict)
    pixels: dict[int, Slice] = field(default_factory=dict)
    lowest: list[tuple[float, int]] = field(default_factory=list)


class Peaks:
    """A `pipeline.context.Keeper`: gets every answered slice, and is told when a file is done, fails or begins anew."""

    def __init__(self) -> None:
        self._coming: dict[int, _Coming] = {}
        self._done: list[tuple[float, int, dict[int, Slice]]] = []

    def add(self, file: int, index: int, lesion: float, pixels: Slice) -> None:
        """A slice with its lesion probability; pixels are copied if they are kept."""
        coming = self._coming.setdefault(file, _Coming())
        coming.lesion[index] = lesion
        entry = (lesion, -index)
        if len(coming.lowest) == MOST:
            if entry < coming.lowest[0]:
                return
            _, dropped = heapq.heappop(coming.lowest)
            del coming.pixels[-dropped]
        heapq.heappush(coming.lowest, entry)
        coming.pixels[index] = pixels.copy()

    def done(self, file: int) -> None:
        """All answers of a file are there."""
        coming = self._coming.pop(file, None)
        if coming is None or len(coming.lesion) == 1:
            return
        order = sorted(coming.lesion)
        values = [coming.lesion[index] for index in order]
        wanted = {
            index: coming.pixels[index] for peak in choose.highest(values) if (index := order[peak]) in coming.pixels
        }
        score = suspicion(values)
        assert score is not None
        heapq.heappush(self._done, (score, file, wanted))
        if len(self._done) > choose.SERIES:
            heapq.heappop(self._done)

    def forget(self, file: int) -> None:
        """A file failed, or begins anew."""
        self._coming.pop(file, None)

    @property
    def pixels(self) -> dict[Key, Slice]:
        """What is kept, by file and index."""
        return {(file, index): pixels for _, file, own in self._done for index, pixels in own.items()}
