"""The thesis's ResNets (Section 5.1.2, Table 5), which are not torchvision's.

Kept differences: stem 7×7 stride 2 with padding 1 (224 → 110) and max-pool 3×3 stride 2 without padding (110 → 54);
ReLU after the *last* BatchNorm of a block and none after the addition; a projection shortcut is 1×1 stride-2
convolution → BatchNorm → ReLU; a bottleneck's stride sits on its 3×3 convolution.

Which convolutions carry a bias differs from network to network; it was derived from the printed parameter counts:
all of them in ResNet18, only the stem's in ResNet50, none in ResNet34 and ResNet152.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

Biases = Literal["all", "stem", "none"]


def unit(inputs: int, outputs: int, kernel: int, *, stride: int = 1, bias: bool) -> list[nn.Module]:
    """Convolution that keeps the side (over the stride), BatchNorm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class _Residual(nn.Module):
    """A body plus a shortcut, with no ReLU after the addition (`return out_2 + x`).

    [N, inputs, H, W] → [N, outputs, H / stride, W / stride]. The shortcut is the identity where the shape stays, else a
    projection with BatchNorm and ReLU; shortcut=False leaves the addition out (`resnet34-plain`).
    """

    expansion = 1

    def __init__(self, inputs: int, outputs: int, *, stride: int, bias: bool, shortcut: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(*self._layers(inputs, outputs, stride, bias))
        self.shortcut: nn.Module | None = None
        if shortcut and stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif shortcut:
            self.shortcut = nn.Sequential(*unit(inputs, outputs, 1, stride=stride, bias=bias))

    def _layers(self, inputs: int, outputs: int, stride: int, bias: bool) -> list[nn.Module]:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Body plus shortcut."""
        out: Tensor = self.body(x)
        return out if self.shortcut is None else out + self.shortcut(x)


class BasicBlock(_Residual):
    """Two 3×3 convolutions, each with BatchNorm and ReLU."""

    def _layers(self, inputs: int, outputs: int, stride: int, bias: bool) -> list[nn.Module]:
        return [*unit(inputs, outputs, 3, stride=stride, bias=bias), *unit(outputs, outputs, 3, bias=bias)]


class Bottleneck(_Residual):
    """1×1 → 3×3 (stride) → 1×1 with four times the width out, BatchNorm and ReLU after each."""

    expansion = 4

    def _layers(self, inputs: int, outputs: int, stride: int, bias: bool) -> list[nn.Module]:
        width = outputs // self.expansion
        return [
            *unit(inputs, width, 1, bias=bias),
            *unit(width, width, 3, stride=stride, bias=bias),
            *unit(width, outputs, 1, bias=bias),
        ]


class ResNet(nn.Module):
    """[N, channels, 224, 224] float32 → logits [N, 3]; stages of side 110 (stem), 54 (pool), 54, 27, 14, 7.

    tied: as in the printed code `3 * [ResBlock(...)]`, the blocks of a stage that keep its shape are one object,
    so their weights are shared. The printed parameter counts are those of independent blocks, the default.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: tuple[int, int, int, int],
        *,
        biases: Biases,
        shortcut: bool = True,
        tied: bool = False,
        channels: int = 1,
        classes: int = 3,
    ) -> None:
        super().__init__()
        bias = biases == "all"
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 64, 7, stride=2, padding=1, bias=biases != "none"),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.MaxPool2d(3, stride=2)
        stages: list[nn.Module] = []
        inputs = 64
        for index, depth in enumerate(layers):
            outputs = 64 * 2**index * block.expansion
            stage: list[nn.Module] = []
            if index > 0 or inputs != outputs:  # a block that changes the shape comes first
                stage.append(block(inputs, outputs, stride=1 if index == 0 else 2, bias=bias, shortcut=shortcut))
            same = depth - len(stage)
            if tied:
                stage += same * [block(outputs, outputs, stride=1, bias=bias, shortcut=shortcut)]
            else:
                stage += [block(outputs, outputs, stride=1, bias=bias, shortcut=shortcut) for _ in range(same)]
            stages.append(nn.Sequential(*stage))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(inputs, classes)

    def features(self, x: Tensor) -> list[Tensor]:
        """What each stage gives, the finest first: [N, 64·expansion, 54, 54] to [N, 512·expansion, 7, 7]."""
        x = self.pool(self.stem(x))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def maps(self, x: Tensor) -> Tensor:
        """The last stage's maps [N, C, 7, 7]; `head` of their spatial means is the answer."""
        return self.features(x)[-1]

    def answer(self, maps: Tensor) -> Tensor:
        """Logits of the last stage's maps."""
        pooled: Tensor = self.head(torch.flatten(nn.functional.adaptive_avg_pool2d(maps, 1), 1))
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.answer(self.maps(x))


resnet18 = partial(ResNet, BasicBlock, (2, 2, 2, 2), biases="all")
"""11,176,579 parameters: every convolution has a bias."""

resnet34 = partial(ResNet, BasicBlock, (3, 4, 6, 3), biases="none")
"""21,279,939 parameters: no convolution has a bias."""

resnet34_plain = partial(resnet34, shortcut=False)
"""ResNet34 without shortcut connections (Figures 6 to 8)."""

resnet34_tied = partial(resnet34, tied=True)
"""ResNet34 as the printed code builds it: one block object repeated within a stage."""

resnet50 = partial(ResNet, Bottleneck, (3, 4, 6, 3), biases="stem")
"""23,507,971 parameters: only the stem's convolution has a bias."""

resnet152 = partial(ResNet, Bottleneck, (3, 8, 36, 3), biases="none")
"""58,143,683 parameters: no convolution has a bias."""
