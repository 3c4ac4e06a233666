"""Augmentation of batches: what moves, what stays, and that a slice's numbers alone decide."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from train.data.augment import DRAWS, Augment, named
from train.data.draws import draws

NOTHING = Augment(crop=None, jitter=0.0, flips=False)


def pictures(count: int = 4) -> tuple[Tensor, Tensor]:
    """Noise with a bright disc off the centre, and the disc's label map."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:256, :256]
    mask = ((x - 100) ** 2 + (y - 120) ** 2 < 40**2).astype(np.uint8)
    images = rng.normal(60, 12, (count, 1, 256, 256)) + 80 * mask
    return torch.from_numpy(images.clip(0, 255).astype(np.uint8)), torch.from_numpy(np.stack([mask] * count))


def numbers(epoch: int, indices: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return draws(5, epoch, np.array(indices), DRAWS)


def test_draws_are_uniform_and_belong_to_their_key() -> None:
    table = draws(0, 0, np.arange(20_000), 8)
    assert table.min() >= 0.0
    assert table.max() < 1.0
    assert np.abs(table.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(table.var(axis=0) - 1 / 12).max() < 0.002
    assert np.abs(np.corrcoef(table.T) - np.eye(8)).max() < 0.03
    assert np.abs(np.corrcoef(table[:-1, 0], table[1:, 0])[0, 1]) < 0.03
    assert np.array_equal(draws(0, 0, np.array([7, 3]), 8), table[[7, 3]])
    others = [draws(1, 0, np.arange(50), 8), draws(0, 1, np.arange(50), 8)]
    assert not any(np.isin(other, table[:50]).any() for other in others)


@pytest.mark.parametrize("name", ["thesis", "upright", "strong", "crop"])
@pytest.mark.parametrize("crop", [224, None])
def test_same_numbers_same_slice_whatever_the_batch(name: str, crop: int | None) -> None:
    augment = named(name, crop)
    assert augment is not None
    images, masks = pictures()
    together, labels = augment(images, masks, numbers(1, [0, 1, 2, 3]))
    alone, label = augment(images[2:3], masks[2:3], numbers(1, [2]))
    assert together.dtype == torch.uint8
    assert together.shape == (4, 1, crop or 256, crop or 256)
    assert torch.equal(together[2], alone[0])
    assert labels is not None
    assert label is not None
    assert torch.equal(labels[2], label[0])
    if name != "crop" or crop is not None:
        other, _ = augment(images, masks, numbers(2, [0, 1, 2, 3]))
        assert not torch.equal(together, other)


def test_the_crop_alone_moves_and_changes_nothing() -> None:
    images, _ = pictures()
    same, _ = NOTHING(images, None, numbers(0, [0, 1, 2, 3]))
    assert torch.equal(same, images)
    cropped, _ = dataclasses.replace(NOTHING, crop=224)(images, None, numbers(0, [0, 1, 2, 3]))
    for image, part in zip(images, cropped, strict=True):
        windows = image.unfold(1, 224, 1).unfold(2, 224, 1)[0].flatten(0, 1)
        assert (windows == part).flatten(1).all(dim=1).sum() == 1


def test_flips_give_the_four_mirror_images() -> None:
    images, _ = pictures(1)
    flip = dataclasses.replace(NOTHING, flips=True)
    seen, _ = flip(images.expand(64, -1, -1, -1), None, numbers(0, list(range(64))))
    mirrors = [images[0], images[0].flip(1), images[0].flip(2), images[0].flip(1, 2)]
    counts = [sum(torch.equal(one, mirror) for one in seen) for mirror in mirrors]
    assert sum(counts) == 64
    assert min(counts) > 4


@pytest.mark.parametrize("name", ["thesis", "upright", "strong"])
def test_the_mask_moves_with_the_picture(name: str) -> None:
    augment = named(name, None)
    assert augment is not None
    images, masks = pictures(8)
    moved, labels = dataclasses.replace(augment, level=0.0, gamma=0.0)(images, masks, numbers(0, list(range(8))))
    assert labels is not None
    assert not torch.equal(moved, images)
    for image, label in zip(moved, labels, strict=True):
        inside = image[0][label == 1].float().mean() - image[0][(label == 0) & (image[0] > 0)].float().mean()
        assert inside > 45, "the bright disc is where its mask is"


def test_rotations_and_zooms_are_as_large_as_said() -> None:
    images, masks = pictures(32)
    zoomed = dataclasses.replace(NOTHING, zoom=0.25)
    _, labels = zoomed(images, masks, numbers(0, list(range(32))))
    assert labels is not None
    sizes = torch.sqrt(labels.flatten(1).sum(1) / masks.flatten(1).sum(1))
    assert 0.74 <= sizes.min() < 0.85
    assert 1.15 < sizes.max() <= 1.26
    rotated = dataclasses.replace(NOTHING, rotation=15.0)
    _, labels = rotated(images, masks, numbers(0, list(range(32))))
    assert labels is not None
    centres = torch.stack([torch.nonzero(label).float().mean(dim=0) - 127.5 for label in labels])
    angles = torch.rad2deg(torch.atan2(centres[:, 0], centres[:, 1])) % 360
    began = torch.rad2deg(torch.atan2(torch.tensor(120 - 127.5), torch.tensor(100 - 127.5))) % 360
    assert 10 < (angles - began).abs().max() < 16


def test_level_shifts_the_window_and_gamma_bends_it() -> None:
    grey = torch.full((16, 1, 8, 8), 100, dtype=torch.uint8)
    shifted, _ = dataclasses.replace(NOTHING, level=20.0)(grey, None, numbers(0, list(range(16))))
    assert 80 <= shifted.min() < 90
    assert 110 < shifted.max() <= 120
    bent, _ = dataclasses.replace(NOTHING, gamma=0.5)(grey, None, numbers(0, list(range(16))))
    lowest, highest = (255 * (100 / 255) ** exponent for exponent in (2**0.5, 2**-0.5))
    assert lowest - 1 < bent.min() < bent.max() < highest + 1
    assert bent.max() - bent.min() > 30


def test_the_thesis_flips_jitters_and_crops_only() -> None:
    assert named("thesis", 224) == Augment(crop=224, jitter=0.2, flips=True)
    assert named("none", 224) is None


def test_global_random_state_is_left_alone() -> None:
    images, _ = pictures(2)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    Augment(crop=224)(images, None, numbers(0, [0, 1]))
    assert torch.equal(torch.rand(1), expected)


def test_noise_has_its_strength_and_blur_keeps_the_mean() -> None:
    grey = torch.full((400, 3, 32, 32), 128, dtype=torch.uint8)
    noisy, _ = dataclasses.replace(NOTHING, noise=10.0)(grey, None, draws(0, 0, np.arange(400), DRAWS))
    spread = (noisy.float() - 128).flatten(1).std(dim=1)
    assert 0.2 < (spread > 0.3).float().mean() < 0.4
    assert 9.0 < spread.max() < 11.0
    loud = noisy[spread.argmax()].float() - 128
    assert abs(float(torch.corrcoef(loud.flatten(1))[0, 1])) < 0.15, "each channel has its own"
    assert noisy[spread > 1].float().mean() == pytest.approx(128, abs=0.5)

    images, _ = pictures(40)
    blurred, _ = dataclasses.replace(NOTHING, blur=1.0)(images, None, draws(0, 0, np.arange(40), DRAWS))
    changed = (blurred != images).flatten(1).any(dim=1)
    assert 0.1 < changed.float().mean() < 0.5
    before, after = images[changed].float(), blurred[changed].float()
    assert after.mean() == pytest.approx(float(before.mean()), abs=0.3)
    assert (after.std(dim=(2, 3)) < before.std(dim=(2, 3))).all()
