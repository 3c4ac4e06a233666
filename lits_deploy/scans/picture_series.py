"""Which pictures belong together, and in which order: told by their paths, since a picture has no header.

    volume-009_0002.jpg, volume-009_0004.jpg   one series of their folder, slices 2 and 4
    101_1009.jpg, 102_1009.jpg                 two series
    a.png, b.png                               one series without an order

A series is a folder with what stays of the names when their last number is taken out; that number is the slice's.
"""

from __future__ import annotations

import re

from lits_deploy.scans import Series

_LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")


def place_of(path: str) -> tuple[Series, float | None]:
    """The series of a picture, and its number there (None without one); path: escaped, relative, with `/`."""
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0] or name
    number = _LAST_NUMBER.search(stem)
    rest = "*" if number is None else f"{stem[: number.start()]}#{stem[number.end() :]}"
    key = f"{folder}/{rest}"
    return Series(study=key, key=key, kind="picture"), None if number is None else float(number[1])
