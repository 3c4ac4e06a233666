"""Slices in memory: targets, masks and weights; and the preprocessing of the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError
from tiny_data import make_tiny_data
from train.data.dataset import SliceDataset, class_weights
from train.data.layout import read_layout
from train.preprocess import Preprocess

CONTRACT = InputContract(window_hu=None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tiny_data(tmp_path / "data")


def dataset(root: Path, *, masks: bool = False) -> SliceDataset:
    return SliceDataset(read_layout(root).splits["train"], CONTRACT, masks=masks)


def test_targets_are_the_largest_label(root: Path) -> None:
    data = dataset(root, masks=True)
    assert data.images.shape == (8, 1, 256, 256)
    assert data.images.dtype == torch.uint8
    assert data.targets.tolist() == [0, 1, 2, 0] * 2
    assert data.masks is not None
    assert data.masks.flatten(1).amax(1).tolist() == data.targets.tolist()
    assert data.bytes == 8 * 2 * 256 * 256


def test_a_tensor_of_indices_gives_those_slices(root: Path) -> None:
    data = dataset(root)
    images, targets, masks = data[torch.tensor([2, 5])]
    assert torch.equal(images, torch.stack([data.images[2], data.images[5]]))
    assert targets.tolist() == [2, 1]
    assert masks is None


def test_balanced_weights() -> None:
    assert class_weights(torch.tensor([0, 0, 0, 1])).tolist() == pytest.approx([4 / 9, 4 / 3, 0.0])


def test_bad_files_name_themselves(root: Path) -> None:
    broken = root / "train" / "images" / "volume-000_0000.png"
    broken.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="volume-000_0000"):
        dataset(root)


def test_labels_above_two_are_refused(root: Path) -> None:
    path = root / "train" / "masks" / "volume-000_0000.png"
    Image.fromarray(np.full((256, 256), 255, np.uint8)).save(path)
    with pytest.raises(DataError, match=r"holds the value 255, which is no label .* --labels 0=0,255=1"):
        dataset(root, masks=True)


def test_preprocess_crops_the_centre_and_scales() -> None:
    slices = torch.zeros(1, 1, 256, 256, dtype=torch.uint8)
    slices[0, 0, 16, 16] = 255
    x = Preprocess(CONTRACT)(slices)
    assert x.shape == (1, 1, 224, 224)
    assert x[0, 0, 0, 0] == 1.0
    assert x.sum() == 1.0
    already = torch.full((1, 1, 224, 224), 51, dtype=torch.uint8)
    assert Preprocess(CONTRACT)(already)[0, 0, 3, 3].item() == pytest.approx(0.2)
