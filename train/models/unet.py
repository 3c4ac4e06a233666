"""U-Net (Section 4.7): three poolings, transposed convolutions, skip concatenation, 1×1 convolution to three maps.

The thesis gives no channel counts. Ours: width-2·width-4·width, 8·width at the bottom (64 by default), BatchNorm after
each convolution; 7,701,955 parameters at width 64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from train.models.resnet import unit


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*unit(inputs, outputs, 3, bias=True), *unit(outputs, outputs, 3, bias=True))


class UNet(nn.Module):
    """[N, channels, H, W] float32, H and W multiples of 8 → logits [N, 3, H, W]."""

    def __init__(self, width: int, *, channels: int = 1, classes: int = 3) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width]
        self.down = nn.ModuleList([_double(i, o) for i, o in zip([channels, *sizes], sizes, strict=False)])
        self.pool = nn.MaxPool2d(2)
        self.bottom = _double(sizes[-1], 8 * width)
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * o, o, 2, stride=2) for o in reversed(sizes)])
        self.merge = nn.ModuleList([_double(2 * o, o) for o in reversed(sizes)])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of every pixel."""
        skips: list[Tensor] = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for rise, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), rise(x)], dim=1))
        out: Tensor = self.head(x)
        return out
