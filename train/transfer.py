"""From the host onto the device without waiting for it."""

from __future__ import annotations

from torch import Tensor, device


def sent(tensor: Tensor, to: device) -> Tensor:
    """The tensor on the device `to`; on a GPU the copy is queued behind its work.

    From ordinary memory the host would wait until the GPU has done everything before the copy, so it is pinned first.
    PyTorch gives the pinned memory to nobody else before it was read.
    """
    if to.type != "cuda":
        return tensor.to(to)
    return tensor.pin_memory().to(to, non_blocking=True)
