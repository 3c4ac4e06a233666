"""The networks of several folds as one: the mean of their probabilities, in one graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MeanOfFolds(nn.Module):
    """[N, C, H, W] → the logarithm of the mean of the networks' softmax, [N, K] or [N, K, H, W].

    So softmax gives that mean back, and whoever reads logits (temperature, argmax) needs to know nothing of it.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        """All networks on the same slices."""
        return mean_of([network(x) for network in self.networks])


def mean_of(logits: Sequence[Tensor]) -> Tensor:
    """Logits of several networks, each [N, K, …], as log-probabilities of their mean."""
    each = torch.stack([torch.log_softmax(one, dim=1) for one in logits])
    return torch.logsumexp(each, dim=0) - math.log(len(logits))


def parts_of(network: nn.Module) -> list[nn.Module]:
    """The networks of a mean, or the one that it is."""
    return list(network.networks) if isinstance(network, MeanOfFolds) else [network]
