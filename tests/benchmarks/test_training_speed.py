"""A comparison runs every candidate on the same slices."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.training_speed import PlainTraining, SpeedComparison, few, line
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.models.registry import network

CPU = torch.device("cpu")


def test_every_candidate_trains_on_the_slices_that_are_counted(tmp_path: Path) -> None:
    layout = few(read_layout(make_tiny_data(tmp_path / "data", window=[-40.0, 160.0])), 4)
    comparison = SpeedComparison("unet", layout, CPU, batch=2, width=2)
    found = comparison.run(["plain", "fp32"], rounds=2, seconds=0.0)
    assert found["network"] == "unet (width 2)"
    assert all(len(rates) == 2 and min(rates) > 0 for rates in found["rounds"].values())
    assert list(found["ratios"]) == ["fp32/plain"]
    assert "fp32/plain" in line(found)


def test_the_plain_loop_learns(tmp_path: Path) -> None:
    layout = read_layout(make_tiny_data(tmp_path / "data", window=[-40.0, 160.0]))
    data = SpeedComparison("unet", layout, CPU, batch=2, width=2).data
    plain = PlainTraining(network("unet"), data, CPU, width=4, batch=4).channels_last()
    losses = [plain.epoch() for _ in range(4)]
    assert losses[-1] < losses[0]
