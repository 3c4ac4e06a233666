"""The class-activation map: where in the slice a classifier sees what speaks for class 2.

A network that ends in the mean over its last feature maps and one linear layer computes logit_c = Σ_k w_ck · mean(F_k)
+ b_c. So the map Σ_k w_ck · F_k, of the feature maps' size, has a mean that is the logit less its bias: each cell's
value is what that place adds (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, eq. 2).
Almost free, exact, and only for such networks: the thesis's ResNets, not AlexNet, VGG or U-Net.

Where a cell lies is not where an even grid would put it: padding and strides shift it (`cell_centres`).

Of several networks whose probabilities are averaged, the map is the mean of theirs: what their logits are made of, and
no longer their common logit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from export.mean_of_folds import mean_of, parts_of
from lits_deploy.errors import ParityError, UserError
from train.models.resnet import ResNet

if TYPE_CHECKING:
    from lits_deploy.runtime import Runtime

LESION = 2
"""The class whose map is exported."""

TOLERANCE = 1e-3
"""Largest difference of the exported map from PyTorch's, as a share of its largest value: FP32, summed in another
order."""


def has_cam(network: nn.Module) -> bool:
    """True where the network is pooling followed by one linear layer, or several such networks averaged."""
    return all(isinstance(part, ResNet) for part in parts_of(network))


class ActivationMap(nn.Module):
    """Float32 [N, 1, S, S] → (logits [N, 3], map of class 2 [N, h, w]). Shares the network's weights.

    Raises UserError for a network whose logits are not linear in its last feature maps.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts_of(network))
        for part in self.parts:
            if not isinstance(part, ResNet):
                raise UserError(
                    f"{type(part).__name__} has no class-activation map: its logits are not one linear layer over "
                    "pooled feature maps, as a ResNet's are.",
                    fix="--no-cam",
                )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both, from one pass."""
        answers = [self._of(part, x) for part in self.parts]
        if len(answers) == 1:
            return answers[0]
        return mean_of([logits for logits, _ in answers]), torch.stack([cam for _, cam in answers]).mean(dim=0)

    @staticmethod
    def _of(network: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = network.maps(x)
        weight = network.head.weight[LESION : LESION + 1, :, None, None]
        return network.answer(maps), nn.functional.conv2d(maps, weight)[:, 0]


def cell_centres(network: nn.Module) -> tuple[float, float]:
    """(first, step) in pixels of the network's input: cell i of a map lies over pixel first + step · i, both ways.

    The centre of its receptive field (Dumoulin and Visin, "A guide to convolution arithmetic", 2016), along the layers
    of the main path; a shortcut keeps to the same grid. Pixel 0 is the first pixel's centre.
    """
    first, step = 0.0, 1.0
    for name, layer in parts_of(network)[0].named_modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d) and ".shortcut" not in name:
            kernel, stride, padding = (_side(value) for value in (layer.kernel_size, layer.stride, layer.padding))
            first += ((kernel - 1) / 2 - padding) * step
            step *= stride
    return first, step


def record(network: nn.Module) -> dict[str, Any]:
    """What the manifest says of the map: its class, and where its cells lie in the centre crop, in pixels."""
    first, step = cell_centres(network)
    return {"class": LESION, "first": first, "step": step}


def check(module: nn.Module, outputs: tuple[str, ...], runtime: Runtime, slices: npt.NDArray[np.uint8]) -> float:
    """Hold the exported map against PyTorch's on uint8 [N, C, S, S]; the largest difference, as a share of the map's
    largest value. Raises ParityError above TOLERANCE. The runtime must return `cam`."""
    with torch.inference_mode():
        expected = dict(zip(outputs, module(torch.from_numpy(slices)), strict=True))["cam"].numpy()
    starts = range(0, len(slices), runtime.max_batch)
    maps = [runtime.infer(slices[at : at + runtime.max_batch]).cam for at in starts]
    got = np.concatenate([part for part in maps if part is not None])
    share = float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-6))
    if got.shape != expected.shape or not share <= TOLERANCE:
        raise ParityError(
            f"The exported class-activation map is not the original's: {share:.1e} of its largest value apart "
            f"(limit {TOLERANCE:.0e}).",
            fix="--no-cam, and report this with the network's name and the versions of torch and onnxruntime",
        )
    return share


def _side(value: int | str | tuple[int, ...] | None) -> int:
    assert isinstance(value, int | tuple)
    return value if isinstance(value, int) else value[0]
