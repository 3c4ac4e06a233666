"""Batches of one slice, of which half the side may leave a single pixel: BatchNorm has no variance of one value."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lits_deploy.contract import InputContract
from lits_deploy.errors import UserError
from tiny_data import make_tiny_data
from train.config import TrainConfig
from train.data.layout import read_layout
from train.models.registry import build
from train.session import Observer, TrainingSession, leaves_one_pixel


def session(
    folder: Path, *, slices: int, batch_size: int, coarse: float = 1.0, model: str = "resnet18"
) -> TrainingSession:
    data = make_tiny_data(folder / "data", slices=slices, patients=(1, 1, 1))
    contract = InputContract(window_hu=None, crop=None if model == "unet" else 56, size=64)
    config = TrainConfig(
        model=model,
        data=data,
        epochs=1,
        batch_size=batch_size,
        coarse=coarse,
        contract=contract,
        width=2 if model == "unet" else None,
    )
    return TrainingSession(config, read_layout(data), Observer())


def test_a_last_batch_of_one_slice_is_left_out_where_half_the_side_leaves_one_pixel(tmp_path: Path) -> None:
    assert session(tmp_path, slices=5, batch_size=4).learn(0)["slices"] == 4


def test_it_is_trained_on_where_the_side_is_whole_or_pixels_are_left(tmp_path: Path) -> None:
    assert session(tmp_path / "whole", slices=3, batch_size=2, coarse=0.1).learn(0)["slices"] == 3
    assert session(tmp_path / "unet", slices=3, batch_size=2, model="unet").learn(0)["slices"] == 3


@pytest.mark.parametrize(("slices", "batch_size"), [(5, 1), (1, 4)])
def test_what_would_leave_no_batch_is_refused(tmp_path: Path, slices: int, batch_size: int) -> None:
    with pytest.raises(UserError, match="half of 64 pixels cannot be trained on one at a time"):
        session(tmp_path, slices=slices, batch_size=batch_size)


def test_one_pixel_is_found_by_running_the_network() -> None:
    model = build("resnet18")
    found = {side: leaves_one_pixel(model, torch.zeros(1, 1, side, side)) for side in (28, 32, 42, 56)}
    assert found == {28: True, 32: True, 42: False, 56: False}
    for side, one in found.items():
        model.train()
        if one:
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                model(torch.zeros(1, 1, side, side))
        else:
            model(torch.zeros(1, 1, side, side))
