"""Test-time flips: a slice and its mirror images answered together, inside the exported graph.

A network that was trained with flips, as the thesis's was, sees four pictures in one slice. Their logits are averaged,
which costs as many passes and needs no code on the box that runs it. The mirror images lie beside the slices in one
batch, so the graph holds the network once. To a network that was trained upright a mirror image is a patient like none
it ever saw.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.choices import Flips

_AXES: dict[Flips, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "sides": ((), (-1,)),
    "all": ((), (-1,), (-2,), (-2, -1)),
}


def views(flips: Flips) -> int:
    """Passes of the network that a slice takes."""
    return len(_AXES[flips])


def mirrored(x: Tensor, flips: Flips) -> Tensor:
    """[N, C, H, W] → [views · N, C, H, W], the slices as they are first."""
    return x if flips == "none" else torch.cat([x.flip(axes) if axes else x for axes in _AXES[flips]])


def merged(logits: Tensor, flips: Flips) -> Tensor:
    """Mean logits [N, K] or, turned back first, [N, K, H, W] of what `mirrored` gave to the network."""
    if flips == "none":
        return logits
    parts = _parts(logits, flips).unbind(0)
    if logits.ndim == 4:
        parts = tuple(part.flip(axes) if axes else part for part, axes in zip(parts, _AXES[flips], strict=True))
    return torch.stack(parts).mean(dim=0)


def unmirrored(values: Tensor, flips: Flips) -> Tensor:
    """Of [views · N, …] the part that belongs to the slices as they are."""
    return values if flips == "none" else _parts(values, flips)[0]


class Flipped(nn.Module):
    """A network, [N, C, H, W] → logits, that answers mirror images with each slice."""

    def __init__(self, network: nn.Module, flips: Flips) -> None:
        super().__init__()
        self.network, self.flips = network, flips

    def forward(self, x: Tensor) -> Tensor:
        """Logits as `merged` has them."""
        return merged(self.network(mirrored(x, self.flips)), self.flips)


def _parts(values: Tensor, flips: Flips) -> Tensor:
    """[views · N, …] → [views, N, …]."""
    return values.reshape(views(flips), -1, *values.shape[1:])
