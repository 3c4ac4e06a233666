"""Exponential moving average of weights: a smoother network than the last step's, at the price of a copy."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Average:
    """A copy of `model` that follows it: after each step, average ← average + (1 − d) · (model − average).

    BatchNorm's running statistics are averaged as weights are. d rises from small values as (1 + t) / (10 + t) up
    to `decay`, t being the number of steps, so that the first steps are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, model: nn.Module, step: int) -> None:
        """Take in the weights after the step of that number, counted from 0 over the whole run."""
        share = 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))
        ours, theirs = _states(self.model), _states(model)
        floats = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[name] for name in floats], [theirs[name] for name in floats], share)
        for name in ours.keys() - set(floats):  # counters
            ours[name].copy_(theirs[name])


def _states(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, shared ones once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
