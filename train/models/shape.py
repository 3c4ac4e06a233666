"""What becomes of a slice's side inside a network, found by running it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def leaves_one_pixel(model: nn.Module, x: Tensor) -> bool:
    """Whether a BatchNorm is given a single pixel of x [1, C, H, W]: in training it has no variance to divide by.

    Leaves the model in evaluation mode.
    """
    sizes: list[int] = []

    def note(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        sizes.append(inputs[0][0, 0].numel())

    hooks = [part.register_forward_pre_hook(note) for part in model.modules() if isinstance(part, _BatchNorm)]
    try:
        model.eval()(x)
    finally:
        for hook in hooks:
            hook.remove()
    return 1 in sizes
