"""The class-activation map: where in the slice a classifier sees what speaks for class 2.

A network that ends in the mean over its last feature maps and one linear layer computes logit_c = Σ_k w_ck · mean(F_k)
+ b_c. So the map Σ_k w_ck · F_k, of the feature maps' size, has a mean that is the logit less its bias: each cell's
value is what that place adds (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, eq. 2).
Almost free, exact, and only for such networks: the thesis's ResNets, not AlexNet, VGG or U-Net.

Where a cell lies is not where an even grid would put it: padding and strides shift it (`cell_centres`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lits_deploy.errors import ParityError, UserError
from train.models.resnet import ResNet

if TYPE_CHECKING:
    import onnx

    from lits_deploy.runtime import Runtime

LESION = 2
"""The class whose map is exported."""

TOLERANCE = 1e-3
"""Largest difference of the exported map from PyTorch's, as a share of its largest value: FP32, summed in another
order."""


def has_cam(network: nn.Module) -> bool:
    """True where the network is pooling followed by one linear layer."""
    return isinstance(network, ResNet)


class ActivationMap(nn.Module):
    """Float32 [N, 1, S, S] → (logits [N, 3], map of class 2 [N, h, w]). Shares the network's weights.

    Raises UserError for a network whose logits are not linear in its last feature maps.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, ResNet):
            raise UserError(
                f"{type(network).__name__} has no class-activation map: its logits are not one linear layer over pooled"
                " feature maps, as a ResNet's are.",
                fix="--no-cam",
            )
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both, from one pass."""
        maps = self.network.maps(x)
        weight = self.network.head.weight[LESION : LESION + 1, :, None, None]
        return self.network.answer(maps), nn.functional.conv2d(maps, weight)[:, 0]


def cell_centres(network: nn.Module) -> tuple[float, float]:
    """(first, step) in pixels of the network's input: cell i of a map lies over pixel first + step · i, both ways.

    The centre of its receptive field (Dumoulin and Visin, "A guide to convolution arithmetic", 2016), along the layers
    of the main path; a shortcut keeps to the same grid. Pixel 0 is the first pixel's centre.
    """
    first, step = 0.0, 1.0
    for name, layer in network.named_modules():
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
    got = np.concatenate(
        [_cam(runtime, slices[at : at + runtime.max_batch]) for at in range(0, len(slices), runtime.max_batch)]
    )
    share = float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-6))
    if got.shape != expected.shape or not share <= TOLERANCE:
        raise ParityError(
            f"The exported class-activation map is not the original's: {share:.1e} of its largest value apart "
            f"(limit {TOLERANCE:.0e}).",
            fix="--no-cam, and report this with the network's name and the versions of torch and onnxruntime",
        )
    return share


def without_cam(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph without the map and all that only it needs; the same graph where it has none."""
    import onnx

    pruned = onnx.ModelProto()
    pruned.CopyFrom(model)
    graph = pruned.graph
    kept = [value for value in graph.output if value.name != "cam"]
    needed, nodes = {value.name for value in kept}, []
    for node in reversed(graph.node):  # in topological order, so a node's readers have been seen
        if needed & set(node.output):
            needed.update(node.input)
            nodes.append(node)
    ordered = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(nodes)]
    outputs = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    values = [value for value in graph.value_info if value.name in needed]
    del graph.node[:], graph.output[:]
    graph.node.extend(ordered)
    graph.output.extend(outputs)
    for field, remaining in ((graph.initializer, weights), (graph.value_info, values)):
        copies = [type(item).FromString(item.SerializeToString()) for item in remaining]
        del field[:]
        field.extend(copies)
    return pruned


def _cam(runtime: Runtime, slices: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    cam = runtime.infer(slices).cam
    assert cam is not None
    return cam


def _side(value: int | str | tuple[int, ...] | None) -> int:
    assert isinstance(value, int | tuple)
    return value if isinstance(value, int) else value[0]
