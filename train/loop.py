"""One pass over the data: forward, loss, backward, step; or forward only. Knows no folders and no checkpoints."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lits_deploy.errors import UserError
from train import distributed
from train.data.feed import Batch
from train.losses import Objective
from train.meter import EpochMeter
from train.mixup import Mix
from train.preprocess import Preprocess

Progress = Callable[[EpochMeter], None]
"""Called after each batch."""


class NotFinite(UserError):  # noqa: N818 - what was found, not yet what to do
    """A loss, or weights, that are no numbers any more: nothing that follows from them may be kept."""


@dataclass(frozen=True, kw_only=True)
class TrainSteps:
    """What training does beside evaluation, with the n-th batch of a pass.

    learn: takes its loss, and n. mix: takes n and how many slices it has (`train.mixup`).
    """

    learn: Callable[[Tensor, int], None]
    mix: Callable[[int, int], Mix | None] = lambda _step, _count: None


def run_epoch(
    model: Callable[..., Any],
    batches: Iterable[Batch],
    objective: Objective,
    preprocess: Preprocess,
    *,
    device: torch.device,
    amp: bool = False,
    steps: TrainSteps | None = None,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Train for one pass (with `steps`) or evaluate (without); returns `EpochMeter.result()` over all processes.

    model: in the mode (training or not) that is wanted. channels_last throughout: on 2 CPU cores it trained ResNet18
    1.6 times as fast as the default layout (docs/log.md, 2026-11-23).
    Raises NotFinite when the summed loss is read and is not finite: at each batch on a CPU; on a GPU, which would wait
    for it, when `progress` reads it; at the end in any case. Several processes read at the end, where all see the same.
    """
    meter = EpochMeter(objective.task, 3, device)
    autocast = torch.autocast(device.type, torch.bfloat16) if amp else contextlib.nullcontext()
    with torch.set_grad_enabled(steps is not None):
        for step, batch in enumerate(batches):
            x = preprocess(batch.slices).contiguous(memory_format=torch.channels_last)
            mixed = None if steps is None else steps.mix(step, len(batch))
            if mixed is not None:
                x = mixed.of(x)
            with autocast:
                loss, logits, target = objective(model(x), batch, mixed)
            if steps is not None:
                steps.learn(loss, step)
            meter.add(loss, logits, target, objective.share(target, batch.share))
            if device.type == "cpu":
                meter.mean_loss()
            progress(meter)
            if not meter.finite and distributed.processes() == 1:
                raise NotFinite(f"the loss is not finite at batch {step + 1}")
    meter.merge()
    figures = meter.result()
    if not meter.finite:
        raise NotFinite("the loss is not finite")
    return figures


WARM_UP = 10
"""Steps over which `cosine` rises to its peak."""


def cosine(step: int, steps: int, peak: float) -> float:
    """Learning rate of a step: a short linear rise to `peak`, then half a cosine down to nearly 0 at `steps`."""
    return peak * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
