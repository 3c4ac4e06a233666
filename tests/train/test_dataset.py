"""Slices in memory: targets, weights, and randomness that depends on nothing but (seed, epoch, index)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError
from tiny_data import make_tiny_data
from train.data.augment import Augment
from train.data.dataset import SliceDataset, class_weights, loader
from train.data.layout import read_layout
from train.preprocess import Preprocess

CONTRACT = InputContract(window_hu=None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tiny_data(tmp_path / "data")


def dataset(root: Path, *, masks: bool = False, augment: Augment | None = None) -> SliceDataset:
    return SliceDataset(read_layout(root).splits["train"], CONTRACT, masks=masks, augment=augment, seed=3)


def test_targets_are_the_largest_label(root: Path) -> None:
    data = dataset(root, masks=True)
    assert data.images.shape == (8, 1, 256, 256)
    assert data.images.dtype == torch.uint8
    assert data.targets.tolist() == [0, 1, 2, 0] * 2
    assert data.masks is not None
    assert data.masks.flatten(1).amax(1).tolist() == data.targets.tolist()


def test_augmentation_is_the_same_again_and_differs_by_epoch(root: Path) -> None:
    data = dataset(root, augment=Augment(crop=224))
    once, again, other = data[0, 2][0], data[0, 2][0], data[1, 2][0]
    assert once.shape == (1, 224, 224)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_without_flips_and_jitter_only_the_crop_moves(root: Path) -> None:
    data = dataset(root, augment=Augment(crop=None, jitter=0.0, flips=False))
    assert all(torch.equal(data[epoch, 1][0], data.images[1]) for epoch in range(4))
    cropped = dataset(root, augment=Augment(crop=224, jitter=0.0, flips=False))[0, 1][0]
    windows = data.images[1].unfold(1, 224, 1).unfold(2, 224, 1)[0].flatten(0, 1)
    assert (windows == cropped).flatten(1).all(dim=1).sum() == 1


def test_turns_and_zooms_move_a_little_and_the_mask_with_it(root: Path) -> None:
    data = dataset(root, masks=True, augment=Augment(crop=None, jitter=0.0, flips=False, turn=10.0, zoom=0.15))
    assert data.masks is not None
    centre = torch.nonzero(data.masks[1] == 1).float().mean(dim=0)
    for epoch in range(4):
        image, mask = data[epoch, 1]
        assert not torch.equal(image, data.images[1])
        assert image[0][mask == 1].float().mean() - image[0][mask == 0].float().mean() > 60
        assert torch.nonzero(mask == 1).float().mean(dim=0).sub(centre).abs().max() < 16, "left stays left"


def test_augmentation_leaves_the_global_random_state_alone(root: Path) -> None:
    data = dataset(root, augment=Augment(crop=224))
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    data[0, 0]
    assert torch.equal(torch.rand(1), expected)


def test_mask_moves_with_the_image(root: Path) -> None:
    data = dataset(root, masks=True, augment=Augment(crop=None, jitter=0.0))
    for epoch in range(4):
        image, mask = data[epoch, 1]
        inside = image[0][mask == 1].float().mean() - image[0][mask == 0].float().mean()
        assert inside > 60, "the bright disc is where its mask is"


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_workers(root: Path, workers: int) -> None:
    data = dataset(root, augment=Augment(crop=224))
    batches, sampler = loader(data, batch_size=3, shuffle=True, workers=workers)
    sampler.epoch = 5
    order = [index for _, index in sampler]
    assert sorted(order) == list(range(8))
    slices = torch.cat([images for images, _ in batches])
    expected = torch.stack([data[5, index][0] for index in order])
    assert torch.equal(slices, expected)


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
    with pytest.raises(DataError, match="holds the label 255"):
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
