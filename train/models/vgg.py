"""VGG19 without BatchNorm (Table 6), one input channel and three classes: 139,581,379 parameters."""

from __future__ import annotations

from torch import nn
from torchvision.models.vgg import VGG, make_layers

# Configuration E of Simonyan and Zisserman 2014 (arXiv 1409.1556): output channels, "M" is a 2×2 max-pool.
_E: list[str | int] = [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"]


def vgg19(channels: int = 1) -> VGG:
    """[N, channels, 224, 224] float32 → logits [N, 3]; torchvision's, with another first convolution."""
    model = VGG(make_layers(_E), num_classes=3)
    first = nn.Conv2d(channels, 64, 3, padding=1)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(first.bias)  # type: ignore[arg-type]
    model.features[0] = first
    return model
