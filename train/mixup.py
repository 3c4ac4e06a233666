"""Mixup: slices blended with others of their batch, and their targets with them (Zhang et al. 2018, arXiv 1710.09412).

What two patients have in common is learnt rather than either by heart. Ours: half of the batches are mixed, each in one
proportion, and a slice keeps the larger share of itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from train.device import sent

SHARE = 0.5
"""Of the batches, how many are mixed."""


@dataclass(frozen=True)
class Mix:
    """share: what a slice keeps of itself, 0.5 to 1; partner: int64 [N], whose slice the rest comes from."""

    share: float
    partner: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Float [N, …], blended."""
        return torch.lerp(values[self.partner], values, self.share)


def draw(alpha: float, key: tuple[int, ...], count: int, device: torch.device) -> Mix | None:
    """The mix of a batch of `count` slices, None where it stays as it is: a function of the key alone.

    alpha: both parameters of the Beta distribution that the share comes from; 0: nothing is mixed.
    """
    if not alpha:
        return None
    rng = np.random.default_rng(key)
    if rng.random() >= SHARE:
        return None
    share = float(rng.beta(alpha, alpha))
    return Mix(max(share, 1.0 - share), sent(torch.from_numpy(rng.permutation(count)), device))
