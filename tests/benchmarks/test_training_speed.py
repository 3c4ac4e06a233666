"""The training floor's arithmetic, and that a comparison runs every candidate on the same slices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.peers.plain_training import PlainTraining
from benchmarks.training_floor import PASSES, WEIGHT_MOVES, Floor, floor, table
from benchmarks.training_speed import Comparison, few, line
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.models.registry import NETWORKS

CPU = torch.device("cpu")


def test_flops_are_those_known_of_the_networks() -> None:
    first = 110 * 110 * 64 * 49
    assert floor("resnet18").flops > 2 * first
    assert floor("resnet18").flops / 1e9 == pytest.approx(3.5, rel=0.05)  # docs/log.md, 2026-11-24
    narrow = floor("unet", width=16)
    assert 3 * narrow.flops / 1e9 == pytest.approx(13.8, rel=0.03)  # thesis/facts.md
    assert 3 * floor("unet").flops / 1e9 == pytest.approx(220, rel=0.03)
    assert narrow.name == "unet (width 16)"


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_the_registry_s(name: str) -> None:
    counted = floor(name)
    assert counted.parameters == NETWORKS[name].parameters
    assert counted.activations > 0


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    one = Floor(name="x", flops=10, activations=100, parameters=8)
    assert one.bytes(batch=4, size=2) == PASSES * 2 * 100 + 4 * WEIGHT_MOVES * 8 / 4
    assert one.slices_per_second(batch=4, size=2, flops=30.0, bandwidth=1e9) == pytest.approx(1.0)
    assert one.slices_per_second(batch=4, size=2, flops=1e9, bandwidth=1080.0) == pytest.approx(1.0)
    lines = table([one], 4, {"BF16": (30.0, 1e9)})
    assert lines[-1].startswith("| x |")
    assert lines[-1].endswith("| 1.0 |")


def test_every_candidate_trains_on_the_slices_that_are_counted(tmp_path: Path) -> None:
    layout = few(read_layout(make_tiny_data(tmp_path / "data", window=[-40.0, 160.0])), 4)
    comparison = Comparison("unet", layout, CPU, batch=2, width=2)
    found = comparison.run(["plain", "fp32"], rounds=2, seconds=0.0)
    assert found["network"] == "unet (width 2)"
    assert all(len(rates) == 2 and min(rates) > 0 for rates in found["rounds"].values())
    assert list(found["ratios"]) == ["fp32/plain"]
    assert "fp32/plain" in line(found)


def test_the_plain_loop_learns(tmp_path: Path) -> None:
    layout = read_layout(make_tiny_data(tmp_path / "data", window=[-40.0, 160.0]))
    data = Comparison("unet", layout, CPU, batch=2, width=2).data
    plain = PlainTraining("unet", "segment", data, width=4, batch=4, workers=0, device=CPU, channels_last=True)
    losses = [plain.epoch() for _ in range(4)]
    assert losses[-1] < losses[0]
