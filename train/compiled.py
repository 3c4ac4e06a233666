"""torch.compile where it works: a network that is compiled for whole batches, once it is known to train so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Size, Tensor, nn

from lits_deploy.errors import UserError
from lits_deploy.printable import printable


class Compiled:
    """A network in training: batches of `whole` slices go through torch.compile, others to the network itself.

    An epoch's last batch is mostly smaller, and would be compiled anew: a minute for one step. What torch.compile lacks
    (a C++ compiler, Triton) shows in the first forward or backward pass, so both are tried before the first step on
    slices of a shape. Where that fails and the network alone does not, say gets the reason and the network is used as
    it is from then on; without say, UserError is raised. What the network itself raises is raised.
    """

    def __init__(self, model: nn.Module, *, whole: int, say: Callable[[str], None] | None) -> None:
        self.model, self.whole, self.say = model, whole, say
        self._call: Callable[[Tensor], Any] | None = None
        self._tried: set[Size] = set()
        self._works = True

    def __call__(self, x: Tensor) -> Any:
        """What the network makes of [N, C, H, W]."""
        if self._works and len(x) == self.whole:
            alike = _usual_strides(x)
            if x.shape not in self._tried:
                self._tried.add(x.shape)
                self._try(alike)
            if self._call is not None and self._works:
                return self._call(alike)
        return self.model(x)

    def _try(self, x: Tensor) -> None:
        try:
            # Not dynamic: slices of half the side, then of the whole, would make one graph of unknown sides of the two.
            if self._call is None:
                self._call = torch.compile(self.model, dynamic=False)
            _rehearse(self._call, self.model, x)
        except Exception as error:  # each backend has errors of its own, down to those of a subprocess
            reason = _reason(error)
        else:
            return
        _rehearse(self.model, self.model, x)  # past the handler, which holds what the attempt took of the memory
        if self.say is None:
            raise UserError(f"torch.compile does not work here ({reason}).", fix="--compile off, or auto")
        self._works = False
        self.say(f"note: training without torch.compile, which does not work here ({reason}).")


def _usual_strides(x: Tensor) -> Tensor:
    """The same in channels_last, every stride as if no side were 1.

    Such a side's stride says nothing, and mixup gives another one, but torch.compile would compile anew for it.
    """
    if not x.is_contiguous(memory_format=torch.channels_last):
        return x
    _, channels, height, width = x.shape
    return x.as_strided(x.shape, (channels * height * width, 1, channels * width, channels))


def _rehearse(call: Callable[[Tensor], Any], model: nn.Module, x: Tensor) -> None:
    """A forward and a backward pass that leave statistics, gradients and random numbers as they were."""
    before = [buffer.clone() for buffer in model.buffers()]
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    try:
        with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
            outputs = call(x)
            with torch.autocast(x.device.type, enabled=False):
                sums = [output.float().sum() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]
                torch.autograd.grad(sums, weights, allow_unused=True)
    finally:
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), before, strict=True):
                buffer.copy_(value)


def _reason(error: BaseException) -> str:
    """The innermost error in one line."""
    while (inner := getattr(error, "inner_exception", None) or error.__cause__) is not None:
        error = inner
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return printable(f"{type(error).__name__}: {first}"[:200].rstrip(":. "))
