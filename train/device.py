"""What `--device`, `--amp` and `--compile` come to on this machine; PyTorch's threads; copies onto a device."""

from __future__ import annotations

import os
from typing import Literal

import torch
from torch import Tensor

from lits_deploy.errors import DeviceError
from lits_deploy.machine import cores
from lits_deploy.runtime.device import Device
from train import distributed
from train.choices import OnOff


def torch_device(text: str) -> torch.device:
    """The device of that name, `auto` the GPU if there is one; DeviceError where it is not there."""
    if distributed.wanted() > 1 and text == "auto" and torch.cuda.is_available():
        text = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    found = Device.parse(text, auto=Device("cuda") if torch.cuda.is_available() else Device("cpu"))
    if found.kind == "cuda" and found.index >= torch.cuda.device_count():
        raise DeviceError(f"{found} was asked for; PyTorch sees {torch.cuda.device_count()} GPUs.", fix="--device cpu")
    return torch.device(str(found))


def use_amp(choice: OnOff, device: torch.device) -> bool:
    """Whether to compute in bf16."""
    if choice == "auto":
        # A CPU without instructions for bf16 emulates it, slowly.
        cuda = device.type == "cuda"
        native: bool = torch.cuda.is_bf16_supported() if cuda else torch.cpu._is_avx512_bf16_supported()
        return native
    return choice == "on"


def compiled(choice: OnOff, device: torch.device) -> bool | Literal["auto"]:
    """Whether to compile; auto is left to `train.compiled`, which tries it first, and takes a GPU."""
    if choice == "auto":
        return "auto" if device.type == "cuda" else False
    return choice == "on"


def limit_threads() -> None:
    """No more threads than a cgroup's quota has cores for: PyTorch goes by the affinity and OMP_NUM_THREADS alone."""
    torch.set_num_threads(min(torch.get_num_threads(), cores()))


def sent(tensor: Tensor, to: torch.device) -> Tensor:
    """The tensor on the device `to`; on a GPU the copy is queued behind its work.

    From ordinary memory the host would wait until the GPU has done everything before the copy, so it is pinned first.
    PyTorch gives the pinned memory to nobody else before it was read.
    """
    if to.type != "cuda":
        return tensor.to(to)
    return tensor.pin_memory().to(to, non_blocking=True)
