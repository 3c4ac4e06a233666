"""The slices beside a slice, for networks of several channels."""

from __future__ import annotations


def neighbours_of(place: int, count: int, channels: int) -> tuple[int, ...]:
    """Places in a volume of `count` slices that become the channels of the slice at `place`.

    The c-th is c − channels // 2 further. At the ends of the volume its last slice stands for those that would follow.
    """
    half = channels // 2
    return tuple(min(max(near, 0), count - 1) for near in range(place - half, place + half + 1))
