"""A volume's orientation on its slices, by its pixels: upright, or which of the seven others.

Headers of LiTS copies are often wrong or missing, so the pixels are compared with what an abdomen looks like. The
reference is the mean of synthetic patients, no real one: grey level, dense pixels and liver on slices that show much
liver. A volume is reoriented in all eight ways (four quarter turns, each also mirrored), and what correlates best wins,
if it wins clearly.

It needs a liver mask: without one an abdomen is too symmetric to be told from its mirror image, and the verdict is
"unsure". It cannot see a volume whose slices are numbered from head to foot: a slice looks the same then.

Tried on 2026-11-24: 25 LiTS patients that lie upright and show a liver all come out clearly upright; of 47 single
slices of theirs 44 clearly do and none clearly otherwise. Pictures of an undeclared, much wider window do worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Grey = npt.NDArray[np.uint8]
Maps = npt.NDArray[np.float32]

WINDOW_HU = (-40.0, 160.0)
"""Window in HU through which its orientation is decided, whatever the data set's."""

ORIENTATIONS = (
    "upright",
    "turned by 90° clockwise",
    "turned by 180°",
    "turned by 90° counter-clockwise",
    "transposed",
    "upside down",
    "transposed the other way",
    "mirrored left to right",
)
"""Of slices; `reorient` with the same index makes them upright."""

_STANDING, _SIDEWAYS = (0, 2, 5, 7), (1, 3, 4, 6)  # by whether `reorient` swaps rows and columns

UPRIGHT, UNSURE = 0, "unsure"

CLEARLY_WIDER = 1.15
"""Ratio of the body's sides from which on the longer one is surely its width."""

LEAST_SCORE, LEAST_LEAD = 1.2, 0.10
"""Sum of three correlations (3 at most) of the best way, and its lead over the second: less is unsure."""

LEAST_LIVER = 60
"""Pixels of liver on a 128×128 slice: fewer tell no side."""

_SIDE, _GRID = 128, 24
_SOFT, _DENSE = 70, 230  # grey levels of WINDOW_HU: 15 HU, above fat; 140 HU, bone and contrast medium
_SEED, _PATIENTS, _SLICES = 77, 8, 6  # the reference


@dataclass(frozen=True, kw_only=True)
class OrientationVerdict:
    """index: into ORIENTATIONS, of the best, or None where unsure; score: its correlation sum; lead: over the next."""

    index: int | None
    score: float
    lead: float

    @property
    def name(self) -> str:
        """In words."""
        return UNSURE if self.index is None else ORIENTATIONS[self.index]


def reorient(slices: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Make slices [..., n, n] upright whose orientation is `ORIENTATIONS[orientation]`; a view."""
    if orientation >= 4:
        slices = np.swapaxes(slices, -1, -2)
    return np.rot90(slices, orientation % 4, axes=(-2, -1))


def find_orientation(grey: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], template: Maps) -> OrientationVerdict:
    """Say how slices uint8 [N, 128, 128] through WINDOW_HU lie, by their labels uint8 [N, 128, 128]."""
    areas = (labels > 0).sum(axis=(1, 2)) if len(labels) else np.zeros(0)
    if areas.max(initial=0) < LEAST_LIVER:
        return OrientationVerdict(index=None, score=0.0, lead=0.0)
    found = _maps(grey, labels)
    if found is None:
        return OrientationVerdict(index=None, score=0.0, lead=0.0)
    maps, height, width = found
    scores = np.array([_agreement(reorient(maps, n), template) for n in range(len(ORIENTATIONS))])
    if max(height, width) >= CLEARLY_WIDER * min(height, width):  # lying on the back, nobody is taller than wide
        scores[list(_SIDEWAYS if width > height else _STANDING)] = 0.0
    best = int(scores.argmax())
    lead = float(scores[best] - np.delete(scores, best).max())
    sure = scores[best] >= LEAST_SCORE and lead >= LEAST_LEAD
    return OrientationVerdict(index=best if sure else None, score=round(float(scores[best]), 3), lead=round(lead, 3))


def shrink(slice_: npt.NDArray[np.uint8], *, labels: bool = False) -> Grey:
    """A square slice as 128×128 by area mean; labels become 0 or 1 by majority."""
    values = (slice_ > 0).astype(np.float32) if labels else slice_.astype(np.float32)
    small = np.asarray(Image.fromarray(values).resize((_SIDE, _SIDE), Image.Resampling.BOX))
    return np.asarray(small >= 0.5 if labels else np.rint(small), dtype=np.uint8)


@cache
def reference() -> Maps:
    """What upright abdomens look like, float32 [3, 24, 24], from synthetic patients: three seconds, once."""
    from lits_deploy.contract import window_to_uint8
    from train.phantom import make_phantom

    total = np.zeros((3, _GRID, _GRID), np.float32)
    for patient in range(_PATIENTS):
        phantom = make_phantom(_SEED, patient, slices=_SLICES)
        grey = np.stack([shrink(level) for level in window_to_uint8(phantom.hu, WINDOW_HU)])
        labels = np.stack([shrink(level, labels=True) for level in phantom.labels])
        found = _maps(grey, labels)
        assert found is not None
        total += found[0]
    return total / np.float32(_PATIENTS)


def _maps(grey: Grey, labels: Grey) -> tuple[Maps, int, int] | None:
    """Mean grey, share of dense pixels and share of liver, each [24, 24] over the body's bounding square; its sides.

    Taken over the slices that show at least a quarter as much liver as the fullest one. None where there is no body.
    """
    areas = (labels > 0).sum(axis=(1, 2))
    full = areas >= 0.25 * areas.max()
    grey, labels = grey[full], labels[full]
    body = (grey > _SOFT).mean(axis=0) > 0.25
    rows, columns = (_reach(body.sum(axis=axis)) for axis in (1, 0))
    if rows is None or columns is None:
        return None
    side = max(rows[1] - rows[0], columns[1] - columns[0])
    top, left = (sum(rows) - side) / 2, (sum(columns) - side) / 2
    box = (left, top, left + side, top + side)
    planes = (grey.mean(axis=0), (grey >= _DENSE).mean(axis=0), (labels > 0).mean(axis=0))
    return np.stack([_cut(plane, box) for plane in planes]), rows[1] - rows[0], columns[1] - columns[0]


def _reach(counts: npt.NDArray[Any]) -> tuple[int, int] | None:
    """First and last + 1 line that holds at least a twentieth of the fullest one."""
    if counts.max() == 0:
        return None
    lines = np.flatnonzero(counts > 0.05 * counts.max())
    return int(lines[0]), int(lines[-1]) + 1


def _cut(plane: npt.NDArray[Any], box: tuple[float, float, float, float]) -> npt.NDArray[np.float32]:
    picture = Image.fromarray(plane.astype(np.float32))
    fine = picture.transform((4 * _GRID, 4 * _GRID), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)
    return np.asarray(fine.reduce(4), dtype=np.float32)


def _agreement(maps: Maps, template: Maps) -> float:
    """Sum of the correlations of the three planes; a plane without contrast counts 0."""
    total = 0.0
    for a, b in zip(maps, template, strict=True):
        a, b = a - a.mean(), b - b.mean()
        norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
        total += float((a * b).sum()) / norm if norm > 0 else 0.0
    return total
