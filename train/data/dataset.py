"""Slices and targets in memory, and the batches made from them.

A slice is decoded once, by the code that the edge box decodes with (`lits_deploy.scans`), and kept as uint8: 64 KiB a
slice. Augmentation is seeded by (seed, epoch, index) for each slice, so batches do not depend on the number of
workers, and a resumed epoch equals an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, SliceError
from lits_deploy.scans.image import load_slice
from train.data.augment import Augment
from train.data.layout import Sample
from train.data.masks import load_mask

Key = tuple[int, int]
"""(epoch, index): what the sampler hands out, so that a slice's randomness needs no state."""


class SliceDataset(Dataset[tuple[Tensor, Tensor]]):
    """Slices uint8 [C, S, S] with a class (int64 scalar) or label map (int64 [S, S]).

    `targets` is int64 [N], the class of every slice, whatever the task.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        contract: InputContract,
        *,
        masks: bool,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        self.samples, self.contract, self.augment, self.seed = tuple(samples), contract, augment, seed
        with ThreadPoolExecutor() as pool:
            loaded = list(pool.map(lambda sample: self._load(sample, masks), self.samples))
        self.images = torch.from_numpy(np.stack([image for image, _, _ in loaded]))
        self.targets = torch.tensor([target for _, target, _ in loaded], dtype=torch.int64)
        self.masks = torch.from_numpy(np.stack([m for _, _, m in loaded if m is not None])) if masks else None

    def _load(self, sample: Sample, masks: bool) -> tuple[npt.NDArray[np.uint8], int, npt.NDArray[np.uint8] | None]:
        try:
            image = load_slice(sample.image, self.contract)
        except SliceError as error:
            raise DataError(f"{sample.image}: {error}.", fix="mend or remove the file") from error
        if sample.mask is None:
            if masks:
                raise DataError(
                    f"{sample.image.parent.parent} has no masks.", fix="a U-Net needs masks/, not targets.csv"
                )
            return image, int(sample.target or 0), None
        mask = load_mask(sample, self.contract.size)
        return image, int(mask.max()), mask if masks else None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        epoch, index = key
        image = self.images[index]
        mask = None if self.masks is None else self.masks[index]
        if self.augment is not None:
            image, mask = self.augment(image, mask, seed=slice_seed(self.seed, epoch, index))
        return image, self.targets[index] if mask is None else mask.long()


def slice_seed(seed: int, epoch: int, index: int) -> int:
    """A 63-bit seed for one slice in one epoch."""
    return int(
        np.random.SeedSequence([seed, epoch, index]).generate_state(2, np.uint32).view(np.uint64)[0] >> np.uint64(1)
    )


class EpochSampler(Sampler[Key]):
    """All indices once an epoch, shuffled by (seed, epoch), as (epoch, index)."""

    def __init__(self, count: int, *, seed: int, shuffle: bool) -> None:
        self.count, self.seed, self.shuffle, self.epoch = count, seed, shuffle, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Key]:
        order = np.arange(self.count)
        if self.shuffle:
            np.random.default_rng([self.seed, self.epoch]).shuffle(order)
        return ((self.epoch, int(index)) for index in order)


def loader(
    data: SliceDataset, *, batch_size: int, shuffle: bool, workers: int, pin: bool = False
) -> tuple[DataLoader[Any], EpochSampler]:
    """Batches of (uint8 [N, C, H, W], int64 targets) and the sampler whose `epoch` to set before each pass."""
    sampler = EpochSampler(len(data), seed=data.seed, shuffle=shuffle)
    batches: DataLoader[Any] = DataLoader(
        data,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,  # the decoded slices are shared, not copied
        pin_memory=pin,
    )
    return batches, sampler


def class_weights(targets: Tensor, classes: int = 3) -> Tensor:
    """Balanced weights float32 [classes]: N / (classes · count), 0 for a class that does not occur."""
    counts = torch.bincount(targets.flatten(), minlength=classes).double()
    weights = torch.where(counts > 0, counts.sum() / (classes * counts.clamp(min=1)), torch.zeros_like(counts))
    return weights.float()
