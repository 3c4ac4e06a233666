"""Grey values brought to one level: contrast phases make a liver of 64 HU in one series and of 157 in another.

Each series is moved so that its level is the mean of its fold's training series, and its fold's network answers anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lits_deploy.scans.paths import escape
from train.data.dataset import SliceDataset
from train.data.layout import Layout
from train.folder import LAST
from train.folds.answers import answered
from train.folds.folder import FoldsRecord, fold_folder
from train.folds.splits import fold_layout, pooled
from train.session import Observer

SOFT_TISSUE = (32, 250)
"""Grey values that count as soft tissue: of −40 to 160 HU those above −15 HU, and less than the brightest."""


def answers_at_one_level(
    run: Path, record: FoldsRecord, layout: Layout, levels: dict[str, float]
) -> dict[str, npt.NDArray[np.float32]]:
    """Logits [3] of each picture, by the path that answers name, of series moved to their training series' level."""
    decoded = SliceDataset(pooled(layout), record.config.contract, masks=False)
    found: dict[str, npt.NDArray[np.float32]] = {}
    for number in range(1, len(record.folds) + 1):
        split = fold_layout(layout, record.folds, number).splits
        taught = {sample.patient for sample in split["train"]}
        wanted = float(np.mean([levels[patient] for patient in taught if patient in levels]))
        data = SliceDataset(split["validate"], record.config.contract, masks=False, decoded=decoded)
        for index, sample in enumerate(data.samples):
            data.images[index] = moved(data.images[index], wanted - levels.get(sample.patient, wanted))
        last = fold_folder(run, number) / LAST
        logits = answered(record.config, last, data, torch.device("cpu"), Observer())["logits"]
        paths = (escape(sample.image.relative_to(layout.root).as_posix()) for sample in data.samples)
        found.update(zip(paths, logits, strict=True))
    return found


def moved(image: torch.Tensor, by: float) -> torch.Tensor:
    """Grey values moved, uint8; what lies at either end of the window stays there."""
    inside = (image > 0) & (image < 255)
    return torch.where(inside, (image.float() + by).round().clamp(0, 255), image.float()).to(torch.uint8)


def levels_of(layout: Layout, record: FoldsRecord) -> dict[str, dict[str, float]]:
    """Each patient's median grey value of soft tissue and, where there is any, of liver by the truth."""
    data = SliceDataset(pooled(layout), record.config.contract, masks=True)
    assert data.masks is not None
    found: dict[str, dict[str, float]] = {"soft tissue": {}, "liver by the truth": {}}
    for patient, indices in _by_patient(data):
        images, masks = data.images[indices][:, 0], data.masks[indices]
        soft = images[(images >= SOFT_TISSUE[0]) & (images < SOFT_TISSUE[1])]
        found["soft tissue"][patient] = float(soft.float().median())
        if (masks == 1).any():
            found["liver by the truth"][patient] = float(images[masks == 1].float().median())
    return found


def _by_patient(data: SliceDataset) -> Iterator[tuple[str, list[int]]]:
    patients = [sample.patient for sample in data.samples]
    for patient in sorted(set(patients)):
        yield patient, [index for index, name in enumerate(patients) if name == patient]
