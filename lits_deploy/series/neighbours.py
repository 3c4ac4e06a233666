"""The neighbours of a slice, for networks of several channels."""

from __future__ import annotations


def neighbours_of(index: int, count: int, channels: int) -> tuple[int, ...]:
    """Indices in a volume of `count` slices that become the channels of the slice at `index`.

    The c-th is c − channels // 2 further. At the ends of the volume its last slice stands for those that would follow.
    """
    half = channels // 2
    return tuple(min(max(n, 0), count - 1) for n in range(index - half, index + half + 1))
