"""What is said of a slice and of a series: plain frozen records. Their numbers are those of `slices.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.results import Status


@dataclass(frozen=True, kw_only=True)
class SliceAnswer:
    """What a classifier says of one slice.

    index: in the array, or in the file at `path`. status: `ok`; `abstained`: probabilities and no class, for the
    network is less sure than the bundle asks; `excluded`: no CT slice, never shown to the network; `failed`: the file
    cannot be used, or the network gave no numbers. reason: why it is not ok. label: 0 to 2; class_name: of it.
    probabilities: of the three classes, calibrated. lesion: the probability of a lesion that suspicion rests on: a
    pair's by both networks, else that of class 2. liver_pixels (lesions included), tumour_pixels: of a pair, where its
    U-Net looked, in the network's pixels.
    window: of its intensities, in HU, or `unverified`. path, z_mm, copy_of: of a slice from a file: where discovery
    found it, its position along the series in mm, and the path of the file whose slice it is once more.
    cam: float32 [h, w], the class-activation map of class 2 (`Classifier.cam_grid`), where it was asked for.
    """

    index: int
    status: Status
    reason: str | None = None
    label: int | None = None
    class_name: str | None = None
    probabilities: tuple[float, float, float] | None = None
    lesion: float | None = None
    liver_pixels: int | None = None
    tumour_pixels: int | None = None
    window: str | None = None
    path: str | None = None
    z_mm: float | None = None
    copy_of: str | None = None
    cam: npt.NDArray[np.float32] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class SeriesAnswer:
    """What a classifier says of one series.

    slices: in order, from feet to head where headers give positions; copies and failed files are among them.
    suspicion: the highest mean of `lesion` over three neighbours; None where no slice was answered. figures: the
    series' row of `studies.csv` by column, less its names and rank. warnings: what a user should know of the run.
    """

    slices: tuple[SliceAnswer, ...]
    suspicion: float | None
    figures: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MaskAnswer:
    """What a U-Net says of one slice.

    index, status, reason, window, path, z_mm, copy_of: as in SliceAnswer. labels: uint8 [H, W] on the pixels of the
    array, or of the file as the masks of `segment` lie on it: 0 background, 1 liver, 2 lesion; its edges have the
    network's resolution. None where the slice was not segmented, or its place in the file is not known (`reason`).
    """

    index: int
    status: Status
    reason: str | None = None
    window: str | None = None
    path: str | None = None
    z_mm: float | None = None
    copy_of: str | None = None
    labels: npt.NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class MaskSeries:
    """What a U-Net says of one series.

    slices: in order, as in SeriesAnswer. figures: the series' row of `volumes.csv` by column, less its names:
    `liver_ml` (lesions included), `tumour_ml`, or the `reason` why they are not known. warnings: as in SeriesAnswer.
    """

    slices: tuple[MaskAnswer, ...]
    figures: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
