"""A classifier of a few thousand parameters that tells the tiny data's classes apart: trained in about a second.

It has what the thesis's networks have (convolution, BatchNorm, ReLU, addition, pooling, a linear head), so that its
graph can be halved, quantised and gated like theirs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from export.source import Deployed, Original
from lits_deploy.contract import InputContract
from lits_deploy.scans.image import load_slice
from train.data.layout import read_layout
from train.data.masks import load_mask
from train.models.registry import network

CONTRACT = InputContract(window_hu=(-40.0, 160.0))


class TinyNetwork(nn.Module):
    """[N, 1, 224, 224] float32 → logits [N, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 8, stride=8, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.end = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(16 * 49, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        out: Tensor = self.head(torch.flatten(self.end(x + self.body(x)), 1))
        return out


def train_tiny_network(data: Path, *, steps: int = 100) -> Original:
    """The network after some steps on the train split of `data`, as `export.source.from_run` would return it."""
    torch.manual_seed(0)
    samples = read_layout(data).splits["train"]
    slices = torch.from_numpy(np.stack([load_slice(sample.image, CONTRACT) for sample in samples]))
    targets = torch.tensor([int(load_mask(sample, 256).max()) for sample in samples])
    module = Deployed(TinyNetwork(), CONTRACT, "classify").train()
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small lose more by waiting for each other
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(slices)[0], targets).backward()
        optimiser.step()
    torch.set_num_threads(threads)
    return Original(
        info=network("resnet18"),
        module=module.eval(),
        contract=CONTRACT,
        width=None,
        training={
            "dataset": read_layout(data).describe(),
            "checkpoint": "best",
            "epoch": 1,
            "settings": {"epochs": 1, "lr": 3e-3, "batch_size": 1, "class_weights": "none", "seed": 0},
        },
        data=data,
    )
