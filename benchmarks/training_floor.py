"""The floor of training: how fast a step of each network could be, from its arithmetic and its memory traffic.

    python -m benchmarks.training_floor [--batch 32] [--width 64] [--measure]

FLOPs: two for each multiply-add of convolutions and linear layers, counted by PyTorch on shapes alone; a training step
takes three times the forward pass (once forward, once for the gradient of the inputs, once for that of the weights; the
first layer needs no gradient of its input, which is not subtracted).

Bytes, as eager PyTorch moves them: each output of a layer is written once and read once on the way forward, and read
once more on the way back, where its gradient is written and read: five times its size. Each weight is read twice and
its gradient written; Adam reads weight, gradient and two moments and writes three of them: ten times four bytes a
weight and step. Layers that the cache joins (a ReLU after a BatchNorm) move less, so this is an estimate, not a
bound; the FLOPs are one.

The floor is the larger of both times at the rates that this machine reaches in a matrix product and a copy.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lits_deploy.contract import InputContract
from lits_deploy.printable import say
from lits_deploy.program import run_program
from train.models.registry import NETWORKS, UNET_WIDTH, build

PASSES = 5
WEIGHT_MOVES = 10


@dataclass(frozen=True, kw_only=True)
class Floor:
    """One network's cost: forward FLOPs and numbers put out by its layers for a slice, and its parameters."""

    name: str
    flops: int
    activations: int
    parameters: int

    def bytes(self, *, batch: int, size: int) -> float:
        """Bytes a slice moves in training, with `size` bytes a number: activations, and its part of the weights'."""
        return PASSES * size * self.activations + 4 * WEIGHT_MOVES * self.parameters / batch

    def slices_per_second(self, *, batch: int, size: int, flops: float, bandwidth: float) -> float:
        """The floor at `flops` a second and `bandwidth` bytes a second."""
        return 1.0 / max(3 * self.flops / flops, self.bytes(batch=batch, size=size) / bandwidth)


def floor(name: str, *, width: int | None = None) -> Floor:
    """Count one network; no memory is taken and nothing is computed."""
    info = NETWORKS[name]
    side = info.crop or InputContract(window_hu=None).size
    with torch.device("meta"):
        model = build(name, width=width)
        x = torch.empty(1, 1, side, side)
    numbers = 0

    def add(module: nn.Module, given: Any, out: Tensor) -> None:
        nonlocal numbers
        numbers += out.numel()

    for module in model.modules():
        if not list(module.children()) and not isinstance(module, nn.Identity):
            module.register_forward_hook(add)
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    return Floor(
        name=name if width is None else f"{name} (width {width})",
        flops=counter.get_total_flops(),
        activations=numbers,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def rates(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """FLOPs a second of a large matrix product, and bytes a second of a copy (read plus written); best of five."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.empty(2**28, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    multiply = _best(lambda: a @ b, device)
    copy = _best(lambda: target.copy_(source), device)
    return 2 * side**3 / multiply, 2 * source.nbytes / copy


def _best(work: Any, device: torch.device) -> float:
    times = []
    for _ in range(6):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def table(floors: list[Floor], batch: int, measured: dict[str, tuple[float, float]]) -> list[str]:
    """Lines of a Markdown table."""
    head = ["network", "GFLOP a slice, forward × 3", "parameters", "MB a slice, FP32", "MB a slice, BF16"]
    head += [f"slices/s at most, {name}" for name in measured]
    lines = ["| " + " | ".join(head) + " |", "|:--" + "|--:" * (len(head) - 1) + "|"]
    for one in floors:
        cells = [one.name, f"{3 * one.flops / 1e9:.1f}", f"{one.parameters:,}"]
        cells += [f"{one.bytes(batch=batch, size=size) / 1e6:.0f}" for size in (4, 2)]
        for name, (flops, bandwidth) in measured.items():
            size = 2 if name == "BF16" else 4
            rate = one.slices_per_second(batch=batch, size=size, flops=flops, bandwidth=bandwidth)
            cells.append(f"{rate:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    """Print the floor of every network of the registry."""
    parser = argparse.ArgumentParser(description="How fast training could be, by FLOPs and bytes.")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--measure", action="store_true", help="measure this machine's rates and print the floor")
    given = parser.parse_args()
    floors = [floor(name) for name in NETWORKS]
    floors.append(floor("unet", width=UNET_WIDTH // 4))
    measured: dict[str, tuple[float, float]] = {}
    if given.measure:
        for name, dtype in (("FP32", torch.float32), ("BF16", torch.bfloat16)):
            measured[name] = rates(torch.device(given.device), dtype)
            flops, bandwidth = measured[name]
            say(f"{name}: matrix product {flops / 1e9:.0f} GFLOP/s, copy {bandwidth / 1e9:.1f} GB/s")
    say(*table(floors, given.batch, measured))
    return 0


if __name__ == "__main__":
    run_program(main)
