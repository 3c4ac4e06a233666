"""Tumour outside the liver: lesion pixels that hang on no liver, neither in their slice nor through the next ones.

A lesion at the liver's rim often touches no liver pixel in its own slice, and where the liver ends a slice may show
lesion alone. So a lesion counts as held when liver lies within 4 pixels (of 256) of it, or when it lies within 4
pixels of liver, or of held lesion, in a neighbouring slice of the patient; that goes on from slice to slice.

Measured on 26 LiTS patients: of 853 lesion pieces 8 touch no liver in their slice. Four lie 2 to 3.6 pixels from it,
one 5 pixels, and three stand in slices without any liver; the rule holds all 8. All 145 pieces of 24 phantoms touch it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

REACH = 4
"""How far held lesion may lie from liver, in pixels of a slice of 256."""

Bools = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]


def loose_pixels(labels: Labels) -> Bools:
    """Lesion pixels, bool [S, S], of pieces with no liver within REACH in this slice."""
    return _without(labels == 2, labels == 1)


def still_loose(loose: Mapping[int, Bools], load: Callable[[int], Labels | None], count: int) -> dict[int, Bools]:
    """What of `loose` (bool [S, S] by position in the patient's stack of `count`) no neighbouring slice holds either.

    load: the labels of a position, None where they cannot be read or have another size.
    """
    left = {position: pixels for position, pixels in loose.items() if pixels.any()}
    changed = True
    while changed:
        changed = False
        for position in sorted(left):
            for neighbour in (position - 1, position + 1):
                labels = load(neighbour) if 0 <= neighbour < count else None
                if labels is None or labels.shape != left[position].shape:
                    continue
                holding = labels > 0
                if neighbour in left:
                    holding &= ~left[neighbour]
                rest = _without(left[position], holding)
                if rest.sum() < left[position].sum():
                    left[position], changed = rest, True
        left = {position: pixels for position, pixels in left.items() if pixels.any()}
    return left


def _without(lesion: Bools, holding: Bools) -> Bools:
    """Lesion less its pieces (8-connected) that come within REACH of `holding`."""
    if not lesion.any():
        return np.zeros_like(lesion)
    reach = max(1, round(REACH * lesion.shape[0] / 256))
    rows, columns = np.flatnonzero(lesion.any(axis=1)), np.flatnonzero(lesion.any(axis=0))
    box = (
        slice(max(0, rows[0] - reach), rows[-1] + reach + 1),
        slice(max(0, columns[0] - reach), columns[-1] + reach + 1),
    )
    inside = lesion[box]
    held = _grown(holding[box], reach) & inside
    while True:  # flood the pieces from where they are held
        more = _grown(held, 1) & inside
        if more.sum() == held.sum():
            break
        held = more
    rest = lesion.copy()
    rest[box] = inside & ~held
    return rest


def _grown(mask: Bools, by: int) -> Bools:
    """Dilation by a square of side 2 · by + 1."""
    picture = Image.fromarray(np.ascontiguousarray(mask, np.uint8))
    return np.asarray(picture.filter(ImageFilter.MaxFilter(2 * by + 1))) > 0
