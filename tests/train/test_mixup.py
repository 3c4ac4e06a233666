"""Mixup: slices and targets blended alike, drawn anew for every batch and the same on a second try."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from lits_deploy.contract import InputContract
from tiny_data import make_tiny_data
from train.config import TrainConfig
from train.data.feed import Batch
from train.losses import Objective, dice_loss, one_hot
from train.mixup import SHARE, Mix, draw
from train.run import train

CPU = torch.device("cpu")


def test_half_of_the_batches_are_mixed_and_a_key_gives_one_answer() -> None:
    drawn = [draw(0.4, (0, 0, step), 6, CPU) for step in range(400)]
    mixed = [mix for mix in drawn if mix is not None]
    assert abs(len(mixed) / 400 - SHARE) < 0.1
    assert all(0.5 <= mix.share <= 1.0 and sorted(mix.partner.tolist()) == list(range(6)) for mix in mixed)
    assert len({mix.share for mix in mixed}) == len(mixed)
    again = [draw(0.4, (0, 0, step), 6, CPU) for step in range(400)]
    assert [mix and mix.share for mix in again] == [mix and mix.share for mix in drawn]
    assert draw(0.0, (0, 0, 1), 6, CPU) is None


def test_a_slice_keeps_its_share() -> None:
    mix = Mix(0.75, torch.tensor([1, 0]))
    assert mix.of(torch.tensor([[0.0], [4.0]])).tolist() == [[1.0], [3.0]]


def test_the_loss_is_of_both_targets() -> None:
    torch.manual_seed(0)
    mix = Mix(0.7, torch.tensor([2, 0, 1]))
    logits, targets = torch.randn(3, 3), torch.tensor([0, 1, 2])
    slices = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    batch = Batch(slices=slices, targets=targets, masks=None, share=3.0)
    loss, _, target = Objective("classify")(logits, batch, mix)
    soft = mix.of(F.one_hot(targets, 3).float())
    assert loss == pytest.approx(float(F.cross_entropy(logits, soft)))
    assert target is targets

    masks, maps = torch.randint(0, 3, (3, 8, 8), dtype=torch.uint8), torch.randn(3, 3, 8, 8)
    batch = Batch(slices=slices, targets=targets, masks=masks, share=3.0)
    loss, _, _ = Objective("segment", dice=1.0)(maps, batch, mix)
    shares = mix.of(one_hot(masks.long(), 3))
    assert loss == pytest.approx(float(F.cross_entropy(maps, shares) + dice_loss(maps, shares)), rel=1e-5)


def test_a_resumed_run_mixes_as_an_undisturbed_one(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", window=[-40, 160])
    contract = InputContract(window_hu=(-40.0, 160.0), size=64, crop=None)

    def config(epochs: int) -> TrainConfig:
        return TrainConfig(
            model="unet", width=2, data=data, epochs=epochs, batch_size=2, contract=contract, mixup=0.4, lr=1e-2
        )

    whole = train(config(2), tmp_path / "whole")
    train(config(1), tmp_path / "parts")
    assert train(config(2), tmp_path / "parts", resume=True) == whole
    plain = train(TrainConfig(**{**vars(config(2)), "mixup": 0.0}), tmp_path / "plain")
    assert plain["loss"] != whole["loss"]
