"""Weight initialisation of Section 5.3."""

from __future__ import annotations

from torch import nn


def kaiming_(module: nn.Module) -> None:
    """Kaiming-normal weights (He et al. 2015, fan-in, ReLU gain) in place, zero biases; BatchNorm stays at 1 and 0.

    Section 5.3 does not say which layers; we take every convolution, transposed convolution and linear layer.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
