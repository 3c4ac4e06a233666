"""A segmentation head beside a classifier, in training only: it makes the features say where liver and lesion are.

A classifier of 17 patients has 17 livers to learn from if it is told classes, and a hundred million labelled pixels
if it is told masks. The head (a feature pyramid, Lin et al. 2017, arXiv 1612.03144) is not part of the network:
checkpoints keep it apart, and neither export nor evaluation knows it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.models.resnet import ResNet, unit

CELL = 4
"""Side in pixels of a cell of the finest maps."""

FIRST = 2
"""Row and column where the first cell begins: the stem looks 1 pixel past the edge, the pool does not."""


class WithMasks(nn.Module):
    """A ResNet and the head: [N, 1, 224, 224] → (logits [N, 3], maps [N, 3, 54, 54])."""

    def __init__(self, network: ResNet, *, width: int = 64, classes: int = 3) -> None:
        super().__init__()
        self.network = network
        sizes = [_channels(stage) for stage in network.stages]
        self.lateral = nn.ModuleList([nn.Conv2d(size, width, 1) for size in sizes])
        self.maps = nn.Sequential(*unit(width, width, 3, bias=False), nn.Conv2d(width, classes, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and maps."""
        stages = self.network.features(x)
        merged: Tensor = self.lateral[-1](stages[-1])
        for stage, lateral in zip(reversed(stages[:-1]), reversed(list(self.lateral)[:-1]), strict=True):
            rise = F.interpolate(merged, size=stage.shape[-2:], mode="bilinear", align_corners=False)
            merged = lateral(stage) + rise
        return self.network.answer(stages[-1]), self.maps(merged)


def _channels(stage: nn.Module) -> int:
    return [layer.num_features for layer in stage.modules() if isinstance(layer, nn.BatchNorm2d)][-1]


def cells(masks: Tensor, side: int, classes: int = 3) -> Tensor:
    """Share of each label in each cell, float32 [N, classes, side, side], of label maps uint8 [N, S, S]."""
    stop = FIRST + CELL * side
    inner = masks[:, FIRST:stop, FIRST:stop]
    shares = [F.avg_pool2d((inner == label).float()[:, None], CELL) for label in range(classes)]
    return torch.cat(shares, dim=1)
