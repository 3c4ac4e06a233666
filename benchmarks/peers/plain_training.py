"""The training loop that a competent user of PyTorch writes: the peer to beat, so no straw man.

Decoded slices in memory, torchvision's transforms in a Dataset, a shuffling DataLoader with worker processes, the
default memory format, FP32, Adam as PyTorch gives it. No metrics but the loss, no checkpoints.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from lits_deploy.contract import Task
from train.data.dataset import SliceDataset
from train.models.registry import build


class Slices(Dataset[tuple[Tensor, Tensor]]):
    """Augmented float slices [1, S, S] with their class, or label map."""

    def __init__(self, data: SliceDataset, crop: int | None) -> None:
        self.data = data
        steps: list[v2.Transform] = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), v2.ColorJitter(0.2, 0.2)]
        if crop is not None:
            steps.append(v2.RandomCrop(crop))
        self.transform = v2.Compose([*steps, v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)])

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = tv_tensors.Image(self.data.images[index])
        if self.data.masks is None:
            return self.transform(image).as_subclass(Tensor), self.data.targets[index]
        image, mask = self.transform(image, tv_tensors.Mask(self.data.masks[index]))
        return image.as_subclass(Tensor), mask.as_subclass(Tensor).long()


class PlainTraining:
    """A network and its loop; `epoch` trains once over the slices."""

    def __init__(
        self,
        name: str,
        task: Task,
        data: SliceDataset,
        *,
        width: int | None,
        batch: int,
        workers: int,
        device: torch.device,
        channels_last: bool = False,
    ) -> None:
        torch.manual_seed(0)
        self.device = device
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        model: Any = build(name, width=width)
        self.model: nn.Module = model.to(device, memory_format=self.format)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-4, weight_decay=1e-5)
        self.loss = nn.CrossEntropyLoss()
        slices = Slices(data, None if task == "segment" else 224)
        self.loader: DataLoader[Any] = DataLoader(
            slices,
            batch_size=batch,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            multiprocessing_context="fork" if workers else None,
        )

    def epoch(self) -> float:
        """Train on every slice once; returns the mean loss of the batches."""
        self.model.train()
        losses = []
        for images, targets in self.loader:
            x = images.to(self.device, non_blocking=True, memory_format=self.format)
            y = targets.to(self.device, non_blocking=True)
            self.optimiser.zero_grad()
            loss = self.loss(self.model(x), y)
            loss.backward()
            self.optimiser.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())
