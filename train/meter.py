"""What an epoch measures, added up over batches: loss, confusion matrix and, for U-Net, Dice and IoU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lits_deploy.contract import Task
from train import distributed
from train.metrics import (
    auroc,
    balanced_accuracy,
    liver_accuracy,
    number,
    numbers,
    per_class_accuracy,
    segmentation_summary_of,
)


class EpochMeter:
    """Adds up batches on the device and gives the figures once, so that a GPU never waits for the host.

    For a classifier the confusion matrix counts slices; for U-Net, pixels.
    """

    def __init__(self, task: Task, classes: int, device: torch.device) -> None:
        self.task, self.classes, self.slices = task, classes, 0
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.counted = torch.zeros((), dtype=torch.float64, device=device)
        self.finite = True
        """Whether the loss was, when it was last read: a GPU is waited for then, so it is not read at each batch."""
        self.matrix = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        self._lesion: list[tuple[Tensor, Tensor]] = []

    def add(self, loss: Tensor, logits: Tensor, target: Tensor, share: float | Tensor | None = None) -> None:
        """One batch: mean loss, logits [N, K, …], target [N, …]; share: slices the loss counts for, N if None."""
        count = len(target)
        self.slices += count
        self.loss += loss.detach().double() * (count if share is None else share)
        self.counted += count if share is None else share
        predicted = logits.detach().argmax(dim=1)
        self.matrix += counts((target * self.classes + predicted).flatten(), self.classes**2)
        if self.task == "classify":
            self._lesion.append((target == 2, logits.detach().float().softmax(dim=1)[:, 2]))

    def mean_loss(self) -> float | None:
        """Mean loss per slice so far; None where there is none, or it is not finite (`finite`)."""
        loss, counted = torch.stack([self.loss, self.counted]).tolist()  # one wait for a GPU, not two
        self.finite = math.isfinite(loss)
        return loss / counted if self.finite and counted else None

    def merge(self) -> None:
        """Add up what all processes of a distributed run have counted."""
        if distributed.processes() == 1:
            return
        sums = torch.stack([self.loss, self.counted]).cpu()
        lesion = [(a.cpu(), b.cpu()) for a, b in self._lesion]
        parts = distributed.gathered((self.slices, sums, self.matrix.cpu(), lesion))
        self.slices = sum(slices for slices, _, _, _ in parts)
        self.loss, self.counted = torch.stack([sums for _, sums, _, _ in parts]).sum(dim=0)
        self.matrix = sum((matrix for _, _, matrix, _ in parts), torch.zeros_like(self.matrix, device="cpu"))
        self._lesion = [pair for _, _, _, pairs in parts for pair in pairs]

    def result(self) -> dict[str, Any]:
        """loss, accuracy, balanced_accuracy, class_accuracy [K], confusion [K, K]; AUROC, or Dice and IoU.

        None stands for a figure that does not exist: of a class without slices, say.
        """
        matrix = self.matrix.reshape(self.classes, self.classes).cpu().numpy()
        values: dict[str, Any] = {
            "loss": self.mean_loss(),
            "accuracy": float(np.diag(matrix).sum() / max(1, matrix.sum())),
            "balanced_accuracy": balanced_accuracy(matrix),
            "class_accuracy": numbers(per_class_accuracy(matrix)),
            "confusion": matrix.tolist(),
            "slices": self.slices,
        }
        if self.task == "segment":
            return values | segmentation_summary_of(matrix)
        lesion = torch.cat([y for y, _ in self._lesion]).cpu().numpy()
        score = torch.cat([p for _, p in self._lesion]).cpu().numpy()
        return values | {
            "liver_accuracy": number(float(liver_accuracy(matrix))),
            "lesion_auroc": number(auroc(lesion, score)),
        }


def counts(values: Tensor, kinds: int) -> Tensor:
    """How often each of 0 … kinds − 1 occurs in int64 [N], int64 [kinds].

    torch.bincount is the fastest on a CPU, but reads the largest value on the host: a GPU would be waited for.
    """
    if values.device.type == "cpu":
        return torch.bincount(values, minlength=kinds)
    return compared(values, kinds)


def compared(values: Tensor, kinds: int) -> Tensor:
    """`counts` by comparisons, which stay on the device."""
    return (values == torch.arange(kinds, device=values.device)[:, None]).sum(dim=1)


def quality(result: dict[str, Any]) -> float:
    """What `best` is chosen by on validate: balanced accuracy, or for U-Net the mean Dice of liver and tumour."""
    if "dice" in result:
        return float(np.mean([d or 0.0 for d in result["dice"][1:]]))
    return float(result["balanced_accuracy"])
