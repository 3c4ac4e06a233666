"""How many ml of liver and of tumour a series holds: labelled pixels times their area times what a slice stands for.

A slice stands for the stretch halfway to its neighbours among the segmented slices; the outermost ones for one usual
distance. Across a gap of more than MOST_BRIDGED usual distances nobody knows what is there: it is not filled. The liver
is taken with its lesions (labels 1 and 2). No volume is given where headers do not say how large pixels and distances
are, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

MOST_BRIDGED = 2.5
SAME_POSITION_MM = 0.01


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A segmented slice: its position in mm along the series, and its pixels of liver with lesions, and of lesions."""

    position: float | None
    liver: int
    tumour: int


@dataclass(frozen=True, kw_only=True)
class Volumes:
    """slice_mm: usual distance of slices. reason: why there is no volume, or None."""

    liver_ml: float | None = None
    tumour_ml: float | None = None
    slice_mm: float | None = None
    reason: str | None = None


def volumes(slices: Sequence[Counted], kind: str | None, spacing_mm: Sequence[float] | None) -> Volumes:
    """The volumes of a series; slices: in order, copies left out. kind: as in `scans.Series`; spacing_mm: of pixels."""
    if not slices:
        return Volumes(reason="no slice was segmented")
    if kind == "picture":
        return Volumes(reason="pictures do not say how large a pixel is")
    if spacing_mm is None:
        return Volumes(reason="the header does not say how large a pixel is")
    positions = [each.position for each in slices if each.position is not None]
    if len(positions) < len(slices):
        return Volumes(reason="the header does not say where the slices lie")
    if len(positions) == 1:
        return Volumes(reason="one slice alone does not say how thick it is")
    if any(after - before < SAME_POSITION_MM for before, after in pairwise(positions)):
        return Volumes(reason="several slices at one position")
    usual, extents = stretches(positions)
    pixel_ml = spacing_mm[0] * spacing_mm[1] / 1000.0
    return Volumes(
        liver_ml=pixel_ml * sum(each.liver * extent for each, extent in zip(slices, extents, strict=True)),
        tumour_ml=pixel_ml * sum(each.tumour * extent for each, extent in zip(slices, extents, strict=True)),
        slice_mm=usual,
    )


def stretches(positions: Sequence[float]) -> tuple[float, list[float]]:
    """The usual distance of slices at rising positions, and how much each stands for; all in mm."""
    gaps = [after - before for before, after in pairwise(positions)]
    usual = median(gaps)
    halves = [gap / 2 if gap <= MOST_BRIDGED * usual else usual / 2 for gap in gaps]
    return usual, [before + after for before, after in zip([usual / 2, *halves], [*halves, usual / 2], strict=True)]
