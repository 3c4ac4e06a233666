"""The thesis's AlexNet (Table 3), 46,736,067 parameters; the layer sizes were derived from that count."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AlexNet(nn.Module):
    """[N, 1, 224, 224] float32 → logits [N, 3].

    Section 4.5.2 says the activation is tanh, so it is; the lineage of the layer sizes uses ReLU, which
    `activation=nn.ReLU` gives. Dropout 0.5 before both hidden linear layers.
    """

    def __init__(self, *, activation: type[nn.Module] = nn.Tanh, channels: int = 1, classes: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 96, 11, stride=4, padding=1),
            activation(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(96, 256, 5, padding=2),
            activation(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(256, 384, 3, padding=1),
            activation(),
            nn.Conv2d(384, 384, 3, padding=1),
            activation(),
            nn.Conv2d(384, 256, 3, padding=1),
            activation(),
            nn.MaxPool2d(3, stride=2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 5 * 5, 4096),
            activation(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            activation(),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        out: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return out
