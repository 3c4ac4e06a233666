"""The batches of an epoch, on the device: from a copy of the data set there, or through a DataLoader.

Order and augmentation of an epoch derive from (seed, epoch, index) alone, so neither the path, nor workers, nor
the number of processes changes what a batch holds. Augmentation runs on the device, a batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from train.data.augment import DRAWS, Augment
from train.data.dataset import SliceDataset, Slices, gathered
from train.data.draws import draws
from train.device import sent

Order = Literal["file", "shuffled", "balanced"]
Indices = npt.NDArray[np.int64]

SHARE_OF_MEMORY = 0.5
"""Of the memory free on a GPU, what the data set may take; the rest is for activations."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Slices uint8 [N, C, H, W], classes int64 [N], label maps uint8 [N, H, W] where they are needed.

    share: the number of slices that its mean loss counts for in the mean of an epoch: N, or where a batch is divided
    among processes, its whole size over their number.
    """

    slices: Tensor
    targets: Tensor
    masks: Tensor | None
    share: float

    def __len__(self) -> int:
        return len(self.targets)


class PlannedBatch(NamedTuple):
    """Indices of the slices of a batch, the keys of their random numbers, and `Batch.share`."""

    indices: Indices
    keys: Indices
    share: float


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which slices come when in an epoch, and how they are changed.

    order: `file` for evaluation; `shuffled`: every slice once; `balanced`: as many slices, each class a third of them
    (rare ones several times, each time augmented anew).
    """

    order: Order = "file"
    augment: Augment | None = None
    seed: int = 0


IN_ORDER = Sampling()


class Feed:
    """One split as batches.

    workers: processes of the DataLoader path, 0 for none. resident: the data set lies on the device; None: where it
    fits (`fits`). part: (process, processes) of a distributed run: in training, a batch of batch_size slices is divided
    among the processes; in evaluation, the processes take whole batches in turns.
    """

    def __init__(
        self,
        data: SliceDataset,
        *,
        batch_size: int,
        device: torch.device,
        sampling: Sampling = IN_ORDER,
        workers: int = 0,
        resident: bool | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.data, self.batch_size, self.device = data, batch_size, device
        self.sampling, self.workers, self.part = sampling, workers, part
        self.resident = fits(data, device) if resident is None else resident
        if self.resident:
            masks = None if data.masks is None else data.masks.to(device)
            self._held = (data.images.to(device), data.neighbours.to(device), data.targets.to(device), masks)

    def plan(self, epoch: int, least: int = 1) -> list[PlannedBatch]:
        """What this process has of each batch.

        A training batch of fewer slices than `least`, or than there are processes, is left out: the last may be one.
        """
        order, keys = self._order(epoch)
        rank, count = self.part
        parts = [slice(start, start + self.batch_size) for start in range(0, len(order), self.batch_size)]
        whole = [PlannedBatch(order[part], keys[part], float(len(order[part]))) for part in parts]
        if self.sampling.order == "file":
            return whole[rank::count]
        return [
            PlannedBatch(p.indices[rank::count], p.keys[rank::count], p.share / count)
            for p in whole
            if p.share >= max(count, least)
        ]

    def _order(self, epoch: int) -> tuple[Indices, Indices]:
        count = len(self.data)
        order = np.arange(count)
        rng = np.random.default_rng([self.sampling.seed, epoch])
        if self.sampling.order == "shuffled":
            rng.shuffle(order)
        if self.sampling.order != "balanced":
            return order, order
        targets = self.data.targets.numpy()
        present = np.unique(targets)
        parts, keys = [], []
        for target in present:
            members = np.flatnonzero(targets == target)
            rounds = -(-count // (len(present) * len(members)))
            drawn = np.concatenate([rng.permutation(members) for _ in range(rounds)])
            parts.append(drawn[: -(-count // len(present))])
            keys.append(drawn[: len(parts[-1])] + count * (np.arange(len(parts[-1])) // len(members)))
        mixed = rng.permutation(sum(map(len, parts)))[:count]
        return np.concatenate(parts)[mixed], np.concatenate(keys)[mixed]

    def batches(self, epoch: int = 0, least: int = 1) -> Iterator[Batch]:
        """The batches of one pass, augmented, on the device; least: as in `plan`."""
        plan = self.plan(epoch, least)
        for (images, targets, masks), planned in zip(self._slices(plan), plan, strict=True):
            if (augment := self.sampling.augment) is not None:
                images, masks = augment(images, masks, draws(self.sampling.seed, epoch, planned.keys, DRAWS))
            yield Batch(slices=images, targets=targets, masks=masks, share=planned.share)

    def __len__(self) -> int:
        return len(self.plan(0))

    def _slices(self, plan: list[PlannedBatch]) -> Iterator[Slices]:
        chosen = [torch.from_numpy(planned.indices) for planned in plan]
        if self.resident:
            images, neighbours, targets, masks = self._held
            for indices in chosen:
                there = sent(indices, self.device)
                yield gathered(images, neighbours[there]), targets[there], None if masks is None else masks[there]
            return
        loader: DataLoader[Any] = DataLoader(
            self.data,
            sampler=chosen,
            batch_size=None,  # an item of the sampler is a batch already
            num_workers=self.workers,
            multiprocessing_context="fork" if self.workers else None,  # the decoded slices are shared, not copied
            pin_memory=self.device.type == "cuda",
        )
        for images, targets, masks in loader:
            masks = None if masks is None else sent(masks, self.device)
            yield sent(images, self.device), sent(targets, self.device), masks


def half(batch: Batch) -> Batch:
    """Slices of half the side, by the mean of 2×2 pixels; masks by the largest label, so that small lesions survive."""
    slices = F.avg_pool2d(batch.slices.float(), 2).round_().to(torch.uint8)
    masks = batch.masks
    if masks is not None:
        masks = F.max_pool2d(masks[:, None].float(), 2)[:, 0].to(torch.uint8)
    return Batch(slices=slices, targets=batch.targets, masks=masks, share=batch.share)


def fits(data: SliceDataset, device: torch.device) -> bool:
    """Whether the data set may lie on the device as uint8: always on a CPU, where it lies anyway."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return data.bytes <= SHARE_OF_MEMORY * free
