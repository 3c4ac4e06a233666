"""Training in several processes (`torchrun --nproc-per-node N -m train …`): who this one is, and what they share.

Each process takes its part of every batch; BatchNorm uses the statistics of the whole batch, and gradients are averaged
by DistributedDataParallel. So N processes train what one does, up to rounding: gloo on CPUs, NCCL on GPUs (which
has never run). With one process everything here does nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def processes() -> int:
    """Number of processes of this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; 0 writes the files."""
    return dist.get_rank() if processes() > 1 else 0


def wanted() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched_rank() -> int:
    """The rank that torchrun gave this process, known before it has joined the others; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the other processes that torchrun started, until the end of the block."""
    if wanted() == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def total(value: Tensor) -> Tensor:
    """Sum over the processes; no gradient passes."""
    value = value.detach().clone()
    if processes() > 1:
        dist.all_reduce(value)
    return value


def gathered(value: Any) -> list[Any]:
    """A plain object of every process, in the order of ranks."""
    if processes() == 1:
        return [value]
    found: list[Any] = [None] * processes()
    dist.all_gather_object(found, value)
    return found


def agreed(value: bool) -> bool:
    """What rank 0 says."""
    return bool(gathered(value)[0])


def synchronise_(model: nn.Module, device: torch.device) -> nn.Module:
    """Let every BatchNorm use the statistics of the whole batch; names of parameters and buffers stay."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm
    return model


class SharedBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes, for CPUs, where PyTorch's SyncBatchNorm does not run."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → the same shape; outside training as BatchNorm2d."""
        if not self.training or processes() == 1:
            return super().forward(x)
        sums = torch.stack([x.float().sum(dim=(0, 2, 3)), x.float().square().sum(dim=(0, 2, 3))])
        count = float(total(torch.tensor(float(x.numel() // x.shape[1]))))
        mean, square = _Sum.apply(sums) / count
        variance = square - mean.square()
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            share = self.momentum or 0.1
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * (count / max(1.0, count - 1.0)), share)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        offset = self.bias - mean * scale
        out: Tensor = (x * scale[:, None, None] + offset[:, None, None]).to(x.dtype)
        return out


class _Sum(torch.autograd.Function):
    """Sum over the processes whose gradient is summed likewise."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return total(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return total(gradients[0])
