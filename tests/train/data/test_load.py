"""Slices with their neighbours as channels: the same for training, export and benchmarks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans.image import load_slice
from lits_deploy.scans.neighbours import alone
from tiny_data import make_tiny_data
from train.data.dataset import SliceDataset
from train.data.feed import Feed
from train.data.layout import Sample, read_layout
from train.data.load import fitted_slice, load_sample

THREE = InputContract(window_hu=(-40.0, 160.0), channels=3, crop=None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_data(tmp_path_factory.mktemp("load") / "data", slices=4, patients=(2, 1, 1))


def test_a_sample_is_loaded_with_the_slices_beside_it(data: Path) -> None:
    samples = read_layout(data).splits["train"]
    one = [load_slice(sample.image, alone(THREE)) for sample in samples]
    expected = {0: (0, 0, 1), 1: (0, 1, 2), 3: (2, 3, 3), 4: (4, 4, 5)}  # four slices a patient
    for index, channels in expected.items():
        got = load_sample(samples[index], THREE)
        assert np.array_equal(got, np.concatenate([one[i] for i in channels]))
    assert np.array_equal(load_sample(samples[2], alone(THREE)), one[2])
    assert load_sample(samples[2], THREE, samples[3].image.read_bytes())[1].tolist() == one[3][0].tolist()


def test_a_broken_neighbour_is_replaced_and_an_own_picture_is_not(data: Path, tmp_path: Path) -> None:
    folder = make_tiny_data(tmp_path / "data")
    samples = read_layout(folder).splits["train"]
    good = load_sample(samples[1], THREE)
    samples[2].image.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert np.array_equal(load_sample(samples[1], THREE), good[[0, 1, 1]])
    with pytest.raises(SliceError):
        load_sample(samples[2], THREE)


def test_an_empty_neighbour_is_none_as_in_the_pipeline(tmp_path: Path) -> None:
    folder = make_tiny_data(tmp_path / "data")
    samples = read_layout(folder).splits["train"]
    good = load_sample(samples[1], THREE)
    Image.fromarray(np.zeros((256, 256), np.uint8)).save(samples[0].image)
    expected = good[[1, 1, 2]]
    assert np.array_equal(load_sample(samples[1], THREE), expected)
    images, _, _ = SliceDataset(samples, THREE, masks=True)[torch.tensor([1])]
    assert np.array_equal(images[0].numpy(), expected)


def test_a_name_without_a_number_stands_alone(tmp_path: Path) -> None:
    sample = Sample(tmp_path / "a.png", None, 0, "p")
    assert sample.neighbours(3) == (sample.image,) * 3


def test_the_data_set_holds_each_slice_once_and_gives_the_same(data: Path) -> None:
    samples = read_layout(data).splits["train"]
    loaded = SliceDataset(samples, THREE, masks=True)
    assert loaded.images.shape == (8, 1, 256, 256)
    images, _, _ = loaded[torch.tensor([5, 0, 7])]
    assert images.shape == (3, 3, 256, 256)
    for image, index in zip(images, (5, 0, 7), strict=True):
        assert np.array_equal(image.numpy(), load_sample(samples[index], THREE))


@pytest.mark.parametrize("resident", [True, False])
def test_the_feed_gives_them_on_both_paths(data: Path, resident: bool) -> None:
    loaded = SliceDataset(read_layout(data).splits["train"], THREE, masks=False)
    feed = Feed(loaded, batch_size=3, device=torch.device("cpu"), resident=resident)
    slices = torch.cat([batch.slices for batch in feed.batches()])
    assert torch.equal(slices, loaded[torch.arange(8)][0])


def test_a_slice_of_a_volume_has_its_neighbours_there() -> None:
    volume = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((4, 64, 64), np.uint8)
    contract = dataclasses.replace(THREE, size=32)
    assert fitted_slice(volume, 0, contract)[:, 0, 0].tolist() == [0, 0, 1]
    assert fitted_slice(volume, 3, contract)[:, 0, 0].tolist() == [2, 3, 3]
    assert fitted_slice(volume, 2, alone(contract)).shape == (1, 32, 32)


def test_slices_of_two_patients_are_never_neighbours(tmp_path: Path) -> None:
    data = make_tiny_data(tmp_path / "data", slices=2)
    images = data / "train" / "images"
    rows = ["file,target,patient"]
    for n, path in enumerate(sorted(images.iterdir())):
        name = f"slice-{n % 2}-of-{n // 2}.png"  # the patient's number stands last
        path.rename(images / name)
        rows.append(f"{name},0,{n // 2}")
    (data / "train" / "targets.csv").write_text("\n".join(rows))
    samples = read_layout(data).splits["train"]
    assert all(sample.neighbours(3) == (sample.image,) * 3 for sample in samples)
