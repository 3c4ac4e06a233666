"""Slices and targets in memory, as uint8: 64 KiB a slice, and as much again with masks.

A slice is held once, whatever the number of slices it is a neighbour of, and decoded once, by the code that the edge
box decodes with (`lits_deploy.scans`). What is made of it for a network is `train.data.feed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, SliceError
from lits_deploy.machine import cores
from lits_deploy.scans.gates import grey_doubt
from lits_deploy.scans.image import load_slice
from lits_deploy.scans.neighbours import alone, replaced
from train.data.layout import Sample
from train.data.masks import load_class, load_labelled

Slices = tuple[Tensor, Tensor, Tensor | None]
"""uint8 [N, C, S, S], class int64 [N], label maps uint8 [N, S, S] or None."""


class SliceDataset(Dataset[Slices]):
    """All slices of a split: `images` uint8 [N, 1, S, S], `targets` int64 [N], `masks` uint8 [N, S, S] or None.

    `targets` is the class of every slice, whatever the task. `beside` int64 [N, C]: the slices that are each one's
    channels. Indexed by a tensor of indices, it gives those slices with their neighbours, uint8 [n, C, S, S].
    """

    def __init__(self, samples: Sequence[Sample], contract: InputContract, *, masks: bool) -> None:
        self.samples, self.contract = tuple(samples), contract
        with ThreadPoolExecutor(cores()) as pool:
            loaded = list(pool.map(lambda sample: self._load(sample, masks), self.samples))
        self.images = torch.from_numpy(np.stack([image for image, _, _ in loaded]))
        self.targets = torch.tensor([target for _, target, _ in loaded], dtype=torch.int64)
        self.beside = torch.tensor(self._beside(contract.channels), dtype=torch.int64)
        self.masks = torch.from_numpy(np.stack([m for _, _, m in loaded if m is not None])) if masks else None

    def _load(self, sample: Sample, masks: bool) -> tuple[npt.NDArray[np.uint8], int, npt.NDArray[np.uint8] | None]:
        try:
            image = load_slice(sample.image, alone(self.contract))
        except SliceError as error:
            raise DataError(f"{sample.image}: {error}.", fix="mend or remove the file") from error
        if sample.mask is None and masks:
            raise DataError(f"{sample.image.parent.parent} has no masks.", fix="a U-Net needs masks/, not targets.csv")
        if not masks:
            return image, load_class(sample), None
        return image, *load_labelled(sample, self.contract.size)

    def _beside(self, channels: int) -> list[list[int]]:
        """Indices of each slice's channels, as `train.data.load.load_sample` chooses them."""
        if channels == 1:
            return [[place] for place in range(len(self))]
        usable = [grey_doubt(image[0].numpy()) is None for image in self.images]
        index = {sample.image: place for place, sample in enumerate(self.samples)}
        rows = ([index[path] for path in sample.beside(channels)] for sample in self.samples)
        return [replaced(row, [usable[place] for place in row]) for row in rows]

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Slices of each class of the contract."""
        return tuple(torch.bincount(self.targets, minlength=len(self.contract.classes)).tolist())

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, indices: Tensor) -> Slices:
        masks = None if self.masks is None else self.masks[indices]
        return gathered(self.images, self.beside[indices]), self.targets[indices], masks

    @property
    def bytes(self) -> int:
        """Memory that images and masks take."""
        return self.images.nbytes + (0 if self.masks is None else self.masks.nbytes)


def gathered(images: Tensor, beside: Tensor) -> Tensor:
    """Slices with their neighbours: of uint8 [N, 1, S, S] those that int64 [n, C] names, uint8 [n, C, S, S]."""
    return images[:, 0][beside]


def class_weights(targets: Tensor, classes: int = 3) -> Tensor:
    """Balanced weights float32 [classes]: N / (classes · count), 0 for a class that does not occur."""
    counts = torch.bincount(targets.flatten(), minlength=classes).double()
    weights = torch.where(counts > 0, counts.sum() / (classes * counts.clamp(min=1)), torch.zeros_like(counts))
    return weights.float()
