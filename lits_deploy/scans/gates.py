"""What must hold for a slice to reach the network: the reason why not, else None.

The network answers whatever it is shown, so what is no upright CT slice of a body is kept from it. The limits lie far
from all real slices that were measured (2026-11-25, `../shared/data`) and nearer to what they must stop:

| limit | LiTS, 4,471 pictures | other CT pictures (109) | CT in HU (207 slices) | masks and label maps |
|---|---|---|---|---|
| LEAST_MID, share of pixels between the darks and the lights | 0.078 … 0.47 | 0.26 … 1.0 | | ≤ 0.005, or few greys |
| LEAST_GREYS, different greys | 251 … 256 | 156 … 256 | | ≤ 68 |
| MOST_WHITE | ≤ 0.06 | ≤ 0.005 | | |
| LEAST_BODY, share above BODY_HU | | | 0.25 … 0.78 | |
| LEAST_AIR, share below BODY_HU | | | 0.22 … 0.75 | 0; cut-outs of a body: 0 |
| LEAST_SOFT, share of SOFT_HU in what is body | | | 0.88 … 0.99 | MR: ≤ 0.01 |
| LEAST_LEVELS, different values on 64×64 points | | | 62 … 912 | ≤ 30 |

Pictures: LiTS (JPEG, −40…160 HU), its 512×512 original, 3D-IRCADb, CHAOS, AMOS, through different windows. HU: LiTS
volume 0, 3D-IRCADb, dcmqi, TotalSegmentator (whole trunk), pydicom's head, chest and shoulders. Phantoms: body from
0.20 on, the rest within these bounds.
An MR picture saved as PNG passes: nothing in 8 bits tells it from CT.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.scans.orient import Orientation

DARK, LIGHT = 16, 240
"""Greys up to DARK and from LIGHT on: air and bone of a windowed slice, and all of a mask."""

LEAST_MID, LEAST_GREYS, MOST_WHITE = 0.04, 85, 0.5

BODY_HU, SOFT_HU = -300.0, (-200.0, 300.0)
LEAST_BODY, LEAST_AIR, LEAST_SOFT, LEAST_LEVELS = 0.05, 0.01, 0.5, 40

FIELD_MM = (200.0, 700.0)
"""Side of the field of view. LiTS: 285 to 512 mm; far beyond, organs are of another size than training has seen."""

MOST_SPACING_MM, MOST_THICKNESS_MM = 2.5, 15.0
"""Between pixels and across the slice. LiTS: 0.56 to 1.0 mm and 0.7 to 5 mm. At 3 mm a liver is 60 pixels wide."""

MOST_SKEW = 0.01
"""By how much the distances of rows and of columns may differ, as a share: more and the slice looks squeezed."""

_GRID = 128  # points a side that HU are looked at on
_ROWS = 8  # every how many rows a CT slice shows enough greys


def grey_doubt(grey: npt.NDArray[np.uint8]) -> str | None:
    """Why an 8-bit picture [rows, columns] of unknown window is no CT slice."""
    size = max(grey.size, 1)
    if np.count_nonzero(grey == 255) > MOST_WHITE * size:
        return "mostly white: a document or a drawing, not a CT slice"
    # From the first grey between on: what is darker wraps round.
    between = np.count_nonzero(grey - np.uint8(DARK + 1) < np.uint8(LIGHT - DARK - 1))
    if between < LEAST_MID * size:
        return "no body in the picture: empty, or a mask"
    if _greys(grey[::_ROWS]) < LEAST_GREYS and (greys := _greys(grey)) < LEAST_GREYS:
        return f"only {greys} shades of grey: a mask or a drawing, not a CT slice"
    return None


def _greys(grey: npt.NDArray[np.uint8]) -> int:
    """Different greys."""
    return int(np.count_nonzero(np.bincount(grey.ravel(), minlength=256)))


def sample(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A slice on about _GRID × _GRID of its points; a view."""
    rows, columns = (max(1, side // _GRID) for side in stored.shape)
    return stored[::rows, ::columns]


def hu_doubt(hu: npt.NDArray[np.floating[Any]]) -> str | None:
    """Why values [rows, columns], a `sample` in HU, are no CT slice of a body."""
    body = hu > BODY_HU
    share = float(body.mean())
    if share < LEAST_BODY:
        return "no body in the slice: nothing but air"
    few = len(np.unique(hu[::2, ::2])) < LEAST_LEVELS
    if 1 - share < LEAST_AIR:
        if few:
            return "only a few different values and no air: a mask or label map, not a CT slice"
        return "no air around the body: cut out, or the values are not HU"
    soft = float(((hu > SOFT_HU[0]) & (hu < SOFT_HU[1])).mean())
    if soft < LEAST_SOFT * share:
        return "the values are not HU of a body: too little soft tissue"
    if few:
        return "only a few different values: a mask or label map, not a CT slice"
    return None


def geometry_doubt(
    rows: int,
    columns: int,
    spacing_mm: tuple[float, float] | None,
    thickness_mm: float | None,
    orientation: Orientation | None,
    contract: InputContract,
) -> str | None:
    """Why slices of this geometry are excluded. Matrix and spacing are the source's, between rows and columns."""
    if orientation is None:
        return "the header does not say how the slices lie"
    if not orientation.axial:
        return f"not an axial slice ({orientation.text})"
    if spacing_mm is None:
        return "the header does not say how large a pixel is"
    across_rows, across_columns = spacing_mm
    if abs(across_rows - across_columns) > MOST_SKEW * max(spacing_mm):
        return f"pixels of {across_rows:.4g}×{across_columns:.4g} mm are not square"
    side = max(rows, columns)
    field = round(side * across_rows)  # exporters round pixels to four digits and fewer
    if not FIELD_MM[0] <= field <= FIELD_MM[1]:
        return f"a field of view of {field} mm: not {FIELD_MM[0]:.0f} to {FIELD_MM[1]:.0f} mm"
    if across_rows > MOST_SPACING_MM:
        return f"pixels of {across_rows:.4g} mm are larger than {MOST_SPACING_MM:g} mm"
    if thickness_mm is not None and thickness_mm > MOST_THICKNESS_MM:
        return f"slices of {thickness_mm:.4g} mm are thicker than {MOST_THICKNESS_MM:g} mm"
    return size_doubt(side, contract)


def size_doubt(side: int, contract: InputContract) -> str | None:
    """Why a square slice of this side does not suit the network's size."""
    size = contract.size
    if side != size and contract.resize == "never":
        return f"{side}×{side} pixels: the network takes {size}×{size} and no other"
    return f"{side}×{side} pixels: too small for {size}×{size}" if 2 * side < size else None
