"""Slices as pictures: the ones worth showing, their masks as contours, and what a network says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError
from train.data.layout import Sample
from train.data.load import read_slice
from train.data.masks import load_mask
from train.data.spread import middles
from train.preprocess import Preprocess
from train.recipes.lab.dataset import DataSet
from train.recipes.lab.runs import FinishedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AT_ONCE = 8
PLAIN = InputContract(window_hu=None)
"""For pictures that no network sees: 256×256, as the file has it."""


@dataclass(frozen=True)
class Shown:
    """One slice: grey uint8 [256, 256], its class, and its mask uint8 [256, 256] if it has one."""

    sample: Sample
    grey: npt.NDArray[np.uint8]
    target: int
    mask: npt.NDArray[np.uint8] | None

    @property
    def name(self) -> str:
        """The picture's name without its ending."""
        return self.sample.image.stem


def show(data: DataSet, sample: Sample) -> Shown:
    """Read a slice; DataError where it cannot be used."""
    mask = None if sample.mask is None else load_mask(sample, PLAIN.size)
    return Shown(sample, read_slice(sample, PLAIN)[0], data.classes[sample.image], mask)


def examples(data: DataSet, samples: Sequence[Sample], each: int = 1) -> list[Sample]:
    """`each` slices of every class that occurs, class by class, evenly over patients and slices: no chance in it."""
    chosen = []
    for target in range(3):
        members = [sample for sample in samples if data.classes[sample.image] == target]
        members.sort(key=lambda sample: (sample.patient, sample.image.name))
        chosen += middles(members, each)
    return chosen


def largest(samples: Sequence[Sample], label: int) -> Sample:
    """The slice with the most pixels of a label; DataError without masks."""
    areas = [(int((load_mask(s, PLAIN.size) == label).sum()), s.image.name, s) for s in samples if s.mask is not None]
    if not areas:
        raise DataError("There are no masks to show.", fix="give data with masks/, not targets.csv")
    return max(areas, key=lambda area: area[:2])[2]


def logits(run: FinishedRun, samples: Sequence[Sample], device: torch.device) -> npt.NDArray[np.float32]:
    """What a run's network says of slices: float32 [N, 3], or [N, 3, 256, 256] of a U-Net."""
    model, contract = run.model(device), run.config.contract
    preprocess = Preprocess(contract)
    found = []
    with torch.no_grad():
        for start in range(0, len(samples), AT_ONCE):
            batch = np.stack([read_slice(sample, contract) for sample in samples[start : start + AT_ONCE]])
            found.append(model(preprocess(torch.from_numpy(batch).to(device))).float().cpu().numpy())
    return np.concatenate(found)


def draw(axes: Axes, shown: Shown, *, contours: Sequence[str] = (), title: str = "") -> None:
    """The slice in grey; contours: "liver" (green) and "tumour" (red), of the target."""
    axes.imshow(shown.grey, cmap="gray", vmin=0, vmax=255)
    if shown.mask is not None:
        regions = {"liver": (shown.mask >= 1, "#00c853"), "tumour": (shown.mask == 2, "#ff1744")}
        for name in contours:
            region, colour = regions[name]
            if region.any():
                axes.contour(region.astype(np.float32), levels=[0.5], colors=[colour], linewidths=1.4)
    axes.set_title(title, fontsize=9.5)
    axes.set_axis_off()


def draw_map(axes: Axes, values: npt.NDArray[Any], *, title: str, limits: tuple[float, float] | None = (0, 1)) -> None:
    """A map of numbers [H, W], dark to bright with its scale beside it; limits None: those of the values."""
    low, high = limits or (None, None)
    image = axes.imshow(values, cmap="gray", vmin=low, vmax=high)
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes, shrink=0.7)
    axes.set_title(title, fontsize=9.5)
    axes.set_axis_off()
