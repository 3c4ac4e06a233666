"""Some of many, evenly spread and in their order: no chance in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """All of them, or `most` at equal distances, the first and the last among them."""
    ranks = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[rank] for rank in np.unique(ranks)]


def middles(items: Sequence[Item], most: int) -> list[Item]:
    """All of them, or the middle one of each of `most` equal stretches: no ends, which show little."""
    count = min(most, len(items))
    return [items[int((k + 0.5) * len(items) / count)] for k in range(count)]
