"""Which pictures belong together, and in which order: parsed from their paths, since a picture has no header.

    volume-009_0002.jpg, volume-009_0004.jpg   one series of their folder, slices 2 and 4
    volume-009_0002 (1).jpg                    slice 2 once more, where volume-009_0002.jpg lies beside it
    101_1009.jpg, 102_1009.jpg                 two series
    scan (3).png                               slice 3
    a.png, b.png                               one series without an order

A series is a folder with what stays of the names when their last number is taken out; that number is the slice's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lits_deploy.scans import SeriesHeader

_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")
_COPY = re.compile(r"(?P<name>.*\d.*) \(\d+\)(?P<suffix>(?:\.[^.]*)?)", re.DOTALL)
"""A name that a browser or file manager gives to what is saved twice."""


def original_of(name: str) -> str | None:
    """The name that a file had before it was saved once more; None where its number can only be the slice's."""
    found = _COPY.fullmatch(name) if ")" in name else None  # asked of every picture
    return None if found is None else found["name"] + found["suffix"]


def series_and_number(path: str, is_there: Callable[[str], bool] = lambda _: False) -> tuple[SeriesHeader, int | None]:
    """The series of a picture, and its number there (None without one); path: escaped, relative, with `/`.

    is_there: whether a file of that name lies in the same folder. `p12 (3).jpg` may be a copy of `p12.jpg`, or the
    third slice of patient 12, as file managers number files that are renamed together.
    """
    folder, _, name = path.rpartition("/")
    while (original := original_of(name)) is not None and is_there(original):
        name = original
    stem = name.rpartition(".")[0] or name
    number = _LAST_NUMBER.search(stem)
    rest = "*" if number is None else f"{stem[: number.start()]}#{stem[number.end() :]}"
    key = f"{folder}/{rest}"
    return SeriesHeader(study=key, series=key, kind="picture"), None if number is None else int(number[1])
