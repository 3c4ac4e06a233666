"""The pictures of a data set as volumes: `lits_deploy.series` decides, by what names and tables tell. Decodes none.

Pictures are of one volume where patient, scan and what `classify` goes by agree: their names but for the last number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from lits_deploy.scans.paths import escape
from lits_deploy.scans.picture_series import series_and_number
from lits_deploy.series import Arranged, SliceFacts, SliceHeader, arrange

Picture = tuple[str, str, str]
"""File name, patient, scan."""


def named(name: str, there: Collection[str] = ()) -> tuple[str, int | None]:
    """What a picture's name tells: its series, without the number, and its number there, if any.

    there: names in its folder, escaped: `s_5 (1).png` has the number of `s_5.png`, where that is there.
    """
    series, number = series_and_number(escape(name), there.__contains__)
    return series.series.lstrip("/"), number


def arranged(
    names: Sequence[str], numbers: Sequence[int | None], contents: Mapping[int, str] = MappingProxyType({})
) -> Arranged:
    """Pictures of one scan as a volume: its order is that of the numbers, and names tell no other.

    contents: hashes of files, by index, where they may be copies.
    """
    facts = [
        SliceFacts(path=name, header=SliceHeader(number=number), content=contents.get(i))
        for i, (name, number) in enumerate(zip(names, numbers, strict=True))
    ]
    (found,) = arrange(facts, named=False)
    return found


def volumes(pictures: Sequence[Picture]) -> list[Arranged]:
    """The volumes of a split, their slices as indices into the pictures."""
    scans: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    there = {escape(name) for name, _, _ in pictures}
    parsed = [named(name, there) for name, _, _ in pictures]
    for i, (_, patient, scan) in enumerate(pictures):
        scans[patient, scan, parsed[i][0]].append(i)
    found = []
    for members in scans.values():
        volume = arranged([pictures[i][0] for i in members], [parsed[i][1] for i in members])
        found.append(replace(volume, slices=tuple(members[i] for i in volume.slices)))
    return found
