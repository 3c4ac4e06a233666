"""The part of preprocessing that lives in the graph: cast, centre crop, scale, normalise."""

from __future__ import annotations

from torch import Tensor, nn

from lits_deploy.contract import InputContract


class Preprocess(nn.Module):
    """uint8 [N, C, H, W] → float32 [N, C, crop, crop], (x · scale − mean) / std.

    The cast comes first: TensorRT takes a uint8 input only if a Cast follows it directly. Slices that are already as
    small as the crop (random crops in training) are not cropped again.
    """

    def __init__(self, contract: InputContract) -> None:
        super().__init__()
        self.crop = contract.crop
        self.factor = contract.scale / contract.std
        self.offset = -contract.mean / contract.std

    def forward(self, slices: Tensor) -> Tensor:
        """Cast, crop, scale."""
        x = slices.float()
        if self.crop is not None and x.shape[-1] > self.crop:
            start = (x.shape[-1] - self.crop) // 2
            x = x[..., start : start + self.crop, start : start + self.crop]
        x = x * self.factor
        return x if self.offset == 0.0 else x + self.offset
