"""What is minimised: cross-entropy as in the thesis; Dice beside it; masks as a classifier's second target.

In a distributed run each process sees a part of the batch. The cross-entropy of classes or pixels is divided by the
weight of the whole batch, so that the mean of the processes' gradients is the gradient of the whole batch. Dice and the
loss of a classifier's maps are those of each process's part.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lits_deploy.contract import Task
from train import distributed
from train.data.feed import Batch
from train.mixup import Mix
from train.models.auxiliary import cells

Outputs = Tensor | tuple[Tensor, Tensor]


class Objective(nn.Module):
    """Outputs of the network being trained and a batch → (loss, logits, target).

    weight: of classes in the cross-entropy, float32 [K]. dice: weight of the Dice loss beside a U-Net's cross-entropy.
    masks: weight of the loss of the maps that `WithMasks` gives beside logits.
    """

    def __init__(self, task: Task, *, weight: Tensor | None = None, dice: float = 0.0, masks: float = 0.0) -> None:
        super().__init__()
        self.task, self.dice, self.masks = task, dice, masks
        self.register_buffer("weight", weight)

    def forward(self, outputs: Outputs, batch: Batch, mix: Mix | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, and what the figures are made from; of mixed slices the target is the larger part's."""
        logits, maps = outputs if isinstance(outputs, tuple) else (outputs, None)
        if self.task == "segment":
            assert batch.masks is not None
            target = batch.masks.long()
        else:
            target = batch.targets
        loss = self._cross_entropy(logits, target)
        if mix is not None:
            loss = torch.lerp(self._cross_entropy(logits, target[mix.partner]), loss, mix.share)
        if self.task == "segment" and self.dice:
            shares = one_hot(target, logits.shape[1])
            loss = loss + self.dice * dice_loss(logits, shares if mix is None else mix.of(shares))
        if maps is not None:
            assert batch.masks is not None
            shares = cells(batch.masks, maps.shape[-1], maps.shape[1])
            shares = shares if mix is None else mix.of(shares)
            loss = loss + self.masks * (F.cross_entropy(maps.float(), shares) + dice_loss(maps, shares))
        return loss, logits, target

    def share(self, target: Tensor, slices: float) -> float | Tensor:
        """What a batch's loss counts for in a mean: its `slices`, or 0 where none is of a class that weighs anything.

        Balanced weights are 0 for a class that `train` lacks; a batch of such slices has no cross-entropy (0 / 0).
        """
        weight: Tensor | None = self.weight  # type: ignore[assignment]
        if weight is None:
            return slices
        return (weight[target].sum() > 0).double() * slices

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        weight: Tensor | None = self.weight  # type: ignore[assignment]
        if distributed.processes() == 1 or not torch.is_grad_enabled():  # evaluation takes whole batches
            mean = F.cross_entropy(logits, target, weight=weight)
            return mean if weight is None else torch.where(weight[target].sum() > 0, mean, 0.0)
        summed = F.cross_entropy(logits, target, weight=weight, reduction="sum")
        mass = target.new_full((), target.numel(), dtype=torch.float32) if weight is None else weight[target].sum()
        return summed * distributed.processes() / distributed.total(mass)


def one_hot(target: Tensor, classes: int) -> Tensor:
    """int64 [N, H, W] → float32 [N, classes, H, W]."""
    return torch.stack([(target == label).float() for label in range(classes)], dim=1)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """1 − soft Dice (Milletari et al. 2016, arXiv 1606.04797), mean over all classes but background.

    logits, target (shares of each class): [N, K, H, W]. Counted over the whole batch, since few slices hold a tumour.
    """
    shares = logits.float().softmax(dim=1)[:, 1:]
    wanted = target[:, 1:]
    both = (shares * wanted).sum(dim=(0, 2, 3))
    either = (shares + wanted).sum(dim=(0, 2, 3))
    return 1.0 - ((2.0 * both + 1.0) / (either + 1.0)).mean()
