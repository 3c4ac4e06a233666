"""Batches: order, balance, and that neither path, nor workers, nor processes change them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lits_deploy.contract import InputContract
from tiny_data import make_tiny_data
from train.data.augment import named
from train.data.dataset import SliceDataset
from train.data.feed import Batch, Feed, Sampling, fits, half
from train.data.layout import read_layout

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SliceDataset:
    root = make_tiny_data(tmp_path_factory.mktemp("tiny") / "data")
    return SliceDataset(read_layout(root).splits["train"], InputContract(window_hu=None), masks=True)


def feed(data: SliceDataset, **changes: Any) -> Feed:
    sampling = Sampling(order=changes.pop("order", "shuffled"), augment=named("thesis", 224), seed=3)
    return Feed(data, sampling=sampling, **{"batch_size": 3, "device": CPU, **changes})


def test_an_epoch_is_every_slice_once_in_an_order_of_its_own(data: SliceDataset) -> None:
    plans = [np.concatenate([part.indices for part in feed(data).plan(epoch)]) for epoch in (0, 0, 1)]
    assert sorted(plans[0]) == list(range(8))
    assert np.array_equal(plans[0], plans[1])
    assert not np.array_equal(plans[0], plans[2])
    assert [len(batch) for batch in feed(data).batches(0)] == [3, 3, 2]
    assert len(feed(data)) == 3


def test_classes_alike_and_no_two_views_of_a_slice_alike(data: SliceDataset) -> None:
    plan = feed(data, order="balanced").plan(4)
    indices, keys = np.concatenate([part.indices for part in plan]), np.concatenate([part.keys for part in plan])
    counts = np.bincount(data.targets.numpy()[indices], minlength=3)
    assert len(indices) == 8
    assert counts.min() >= 2, "each class a third"
    assert len(set(keys)) == 8, "a slice that comes twice is augmented in two ways"
    assert np.array_equal(keys % 8, indices)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_path_gives_the_batches_of_the_resident_one(data: SliceDataset, workers: int) -> None:
    resident = list(feed(data, resident=True).batches(5))
    loaded = list(feed(data, resident=False, workers=workers).batches(5))
    for ours, theirs in zip(resident, loaded, strict=True):
        assert torch.equal(ours.slices, theirs.slices)
        assert torch.equal(ours.targets, theirs.targets)
        assert ours.masks is not None
        assert theirs.masks is not None
        assert torch.equal(ours.masks, theirs.masks)


def test_processes_divide_each_batch_and_change_no_slice(data: SliceDataset) -> None:
    whole = list(feed(data, batch_size=4).batches(2))
    halves = [list(feed(data, batch_size=4, part=(rank, 2)).batches(2)) for rank in range(2)]
    for batch, first, second in zip(whole, *halves, strict=True):
        assert torch.equal(batch.slices[0::2], first.slices)
        assert torch.equal(batch.slices[1::2], second.slices)


def test_a_last_batch_smaller_than_the_number_of_processes_is_left_out(data: SliceDataset) -> None:
    parts = [feed(data, batch_size=7, part=(rank, 2)) for rank in range(2)]
    assert [[len(batch) for batch in part.batches(0)] for part in parts] == [[4], [3]]
    assert [len(part) for part in parts] == [1, 1]
    assert [batch.share for part in parts for batch in part.batches(0)] == [3.5, 3.5]


def test_evaluation_in_processes_takes_whole_batches_and_leaves_none_out(data: SliceDataset) -> None:
    parts = [Feed(data, batch_size=7, device=CPU, part=(rank, 2)) for rank in range(2)]
    assert [[planned.indices.tolist() for planned in part.plan(0)] for part in parts] == [[list(range(7))], [[7]]]


def test_half_size_keeps_small_lesions(data: SliceDataset) -> None:
    masks = torch.zeros(1, 256, 256, dtype=torch.uint8)
    masks[0, 100, 101] = 2
    slices = torch.arange(256, dtype=torch.uint8).expand(1, 1, 256, 256)
    small = half(Batch(slices=slices, targets=torch.tensor([2]), masks=masks, share=1.0))
    assert small.slices.shape == (1, 1, 128, 128)
    assert small.slices[0, 0, 0].tolist() == [round(2 * i + 0.5) for i in range(128)]
    assert small.masks is not None
    assert torch.nonzero(small.masks).tolist() == [[0, 50, 50]]


def test_data_always_fits_where_it_lies_already(data: SliceDataset) -> None:
    assert fits(data, CPU)
    assert feed(data).resident
