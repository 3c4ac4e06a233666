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
from lits_deploy.errors import DataError
from lits_deploy.machine import cores
from lits_deploy.scans.gates import grey_doubt
from lits_deploy.scans.neighbours import replaced
from train.data.layout import Sample
from train.data.load import read_slice
from train.data.masks import load_class, load_labelled

Slices = tuple[Tensor, Tensor, Tensor | None]
"""uint8 [N, C, S, S], class int64 [N], label maps uint8 [N, S, S] or None."""


class SliceDataset(Dataset[Slices]):
    """All slices of a split: `images` uint8 [N, 1, S, S], `targets` int64 [N], `masks` uint8 [N, S, S] or None.

    `targets` is the class of every slice, whatever the task. `neighbours` int64 [N, C]: the slices that are each one's
    channels. Indexed by a tensor of indices, it gives those slices with their neighbours, uint8 [n, C, S, S].
    decoded: a data set that holds all of these slices (and masks) already; they are copied from there, and no file is
    read.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        contract: InputContract,
        *,
        masks: bool,
        decoded: SliceDataset | None = None,
    ) -> None:
        self.samples, self.contract = tuple(samples), contract
        self.images, self.targets, self.masks = self._read(masks) if decoded is None else self._taken(decoded, masks)
        self.neighbours = torch.tensor(self._neighbours(contract.channels), dtype=torch.int64)

    def _read(self, masks: bool) -> Slices:
        with ThreadPoolExecutor(cores()) as pool:
            loaded = list(pool.map(lambda sample: self._load(sample, masks), self.samples))
        images = torch.from_numpy(np.stack([image for image, _, _ in loaded]))
        targets = torch.tensor([target for _, target, _ in loaded], dtype=torch.int64)
        return (
            images,
            targets,
            torch.from_numpy(np.stack([m for _, _, m in loaded if m is not None])) if masks else None,
        )

    def _taken(self, decoded: SliceDataset, masks: bool) -> Slices:
        index = {sample.image: i for i, sample in enumerate(decoded.samples)}
        chosen = torch.tensor([index[sample.image] for sample in self.samples], dtype=torch.int64)
        assert decoded.masks is not None or not masks
        taken = decoded.masks[chosen] if masks and decoded.masks is not None else None
        return decoded.images[chosen], decoded.targets[chosen], taken

    def _load(self, sample: Sample, masks: bool) -> tuple[npt.NDArray[np.uint8], int, npt.NDArray[np.uint8] | None]:
        image = read_slice(sample, self.contract)
        if sample.mask is None and masks:
            raise DataError(f"{sample.image.parent.parent} has no masks.", fix="a U-Net needs masks/, not targets.csv")
        if not masks:
            return image, load_class(sample), None
        return image, *load_labelled(sample, self.contract.size)

    def _neighbours(self, channels: int) -> list[list[int]]:
        """Indices of each slice's channels, as `train.data.load.load_sample` chooses them."""
        if channels == 1:
            return [[i] for i in range(len(self))]
        usable = [grey_doubt(image[0].numpy()) is None for image in self.images]
        index = {sample.image: i for i, sample in enumerate(self.samples)}
        rows = ([index[path] for path in sample.neighbours(channels)] for sample in self.samples)
        return [replaced(row, [usable[i] for i in row]) for row in rows]

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Slices of each class of the contract."""
        return tuple(torch.bincount(self.targets, minlength=len(self.contract.classes)).tolist())

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, indices: Tensor) -> Slices:
        masks = None if self.masks is None else self.masks[indices]
        return gathered(self.images, self.neighbours[indices]), self.targets[indices], masks

    @property
    def bytes(self) -> int:
        """Memory that images and masks take."""
        return self.images.nbytes + (0 if self.masks is None else self.masks.nbytes)


def gathered(images: Tensor, neighbours: Tensor) -> Tensor:
    """Slices with their neighbours: of uint8 [N, 1, S, S] those that int64 [n, C] names, uint8 [n, C, S, S]."""
    return images[:, 0][neighbours]


def class_weights(targets: Tensor) -> Tensor:
    """Balanced weights float32 [3]: N / (3 · count), 0 for a class that does not occur."""
    counts = torch.bincount(targets.flatten(), minlength=3).double()
    return torch.where(counts > 0, counts.sum() / (3 * counts.clamp(min=1)), 0.0).float()
