"""The class of a slice: told by its mask as it is stored, whatever size a network takes; classes that a split lacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from export.answers import Identity, read_answer
from export.held_out import HeldOut
from export.source import Deployed, Original
from lits_deploy.contract import InputContract
from tiny_data import make_tiny_data
from train.check import check_data
from train.check.examine import examine_bunch
from train.check.listing import list_data
from train.config import TrainConfig
from train.data import masks
from train.data.dataset import SliceDataset
from train.data.layout import Sample, read_layout
from train.data.masks import fitted_mask, load_class, load_labelled
from train.models.registry import network
from train.session import Observer, TrainingSession

SIZES = (96, 160, 224)
"""None of them divides 256."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients of one slice, each with a lesion of one pixel, where the nearest pixel of other sizes is not."""
    root = make_tiny_data(tmp_path_factory.mktemp("specks") / "data", slices=3, patients=(1, 1, 1))
    for path in root.glob("*/masks/*_0001.png"):
        with Image.open(path) as picture:
            mask = np.array(picture)
        mask[75, 100] = 2
        assert all(Image.fromarray(mask).resize((s, s), Image.Resampling.NEAREST).getextrema() == (0, 1) for s in SIZES)
        Image.fromarray(mask).save(path)
    return root


def samples(data: Path, split: str = "validate") -> Sequence[Sample]:
    return read_layout(data).splits[split]


@pytest.mark.parametrize("size", SIZES)
def test_training_evaluation_and_export_see_the_same_classes_at_every_size(data: Path, size: int) -> None:
    contract = InputContract(window_hu=None, crop=None, size=size)
    speck, wanted = samples(data)[1], [0, 2, 2]
    assert (load_class(speck), load_labelled(speck, size).target) == (2, 2)
    for with_masks in (False, True):
        assert SliceDataset(samples(data), contract, masks=with_masks).targets.tolist() == wanted
    assert [read_answer(sample, contract, Identity())[0].target for sample in samples(data)] == wanted
    info = network("unet")
    original = Original(
        info=info, module=Deployed(nn.Identity(), contract, info.task), contract=contract, width=2, data=data
    )
    assert [one.target for one in HeldOut(original).gate_slices()] == wanted
    entries = tuple(entry for entry in list_data(data).entries if entry.split == "validate")
    assert [fact.target for fact in examine_bunch((0, entries))[1]] == wanted


@pytest.mark.parametrize("size", SIZES)
def test_the_class_is_read_from_the_stored_mask(data: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks, "fitted_mask", lambda mask, size: np.zeros((size, size), np.uint8))
    assert load_labelled(samples(data)[1], size).target == 2


def test_no_lesion_is_lost_in_a_fitted_mask_and_none_grows_when_enlarged() -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[75, 100] = 2
    for size in (*SIZES, 128):
        fitted = fitted_mask(mask, size)
        assert fitted.shape == (size, size)
        assert fitted[75 * size // 256, 100 * size // 256] == 2
    assert (fitted_mask(mask, 512) == 2).sum() == 4


def test_classes_of_lits_do_not_depend_on_the_size(shared_data: Path) -> None:
    every = samples(shared_data / "lits", "test")
    for sample in every[::3]:
        assert load_labelled(sample, 96).target == load_labelled(sample, 256).target


def test_a_class_that_a_split_lacks_is_said(tmp_path: Path) -> None:
    root = make_tiny_data(tmp_path / "data", slices=3, patients=(1, 1, 1))
    for kind in ("images", "masks"):
        (root / "validate" / kind / "volume-001_0002.png").unlink()
    (finding,) = (finding for finding in check_data(root, workers=1).findings if finding.kind == "class-absent")
    assert (finding.severity, finding.location) == ("warning", "validate")
    assert finding.message.startswith("holds no slice of class 2 (liver with lesion): the best epoch")
    said: list[str] = []

    class Listener(Observer):
        def say(self, line: str) -> None:
            said.append(line)

    contract = InputContract(window_hu=None, crop=None, size=64)
    config = TrainConfig(model="unet", data=root, epochs=1, batch_size=2, width=2, contract=contract)
    threads = torch.get_num_threads()
    TrainingSession(config, read_layout(root), Listener())
    torch.set_num_threads(threads)
    (line,) = said
    assert line.startswith("warning: validate holds no slice of class 2 (liver with lesion): the best epoch")
