"""Which slices of a data set lie beside each other, and in which order: as `lits_deploy.series` says, everywhere."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.answers import Identity, in_order, read_answer
from fake_runtime import FakeRuntime
from folder_runs import SALT
from lits_deploy.contract import InputContract
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.run import run_folder
from lits_deploy.runtime import Outputs
from lits_deploy.runtime.base import Batch
from pictures import grey_pixels, save
from tiny_bundle import make_tiny_bundle
from train.data.dataset import SliceDataset
from train.data.layout import Sample, read_layout
from train.data.volumes import Picture, volumes

SIZE = 64


def ordered(pictures: list[Picture]) -> list[list[Picture]]:
    return [[pictures[i] for i in volume.slices] for volume in volumes(pictures)]


@settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_slices_lie_by_their_numbers_however_names_sort(numbers: set[int], rng: random.Random) -> None:
    pictures = [(f"x_slice_{number}.png", "p", "s") for number in numbers]
    rng.shuffle(pictures)
    assert ordered(pictures) == [[(f"x_slice_{number}.png", "p", "s") for number in sorted(numbers)]]


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_patients_scans_and_phases_are_never_mixed(rng: random.Random) -> None:
    keys = [(phase, who, scan) for who in "ab" for scan in "12" for phase in ("art", "ven")]
    pictures = [(f"{phase}_{n}.png", who, scan) for phase, who, scan in keys for n in (9, 10, 11)]
    rng.shuffle(pictures)
    found = sorted(ordered(pictures))
    assert found == sorted([(f"{phase}_{n}.png", who, scan) for n in (9, 10, 11)] for phase, who, scan in keys)


@pytest.mark.parametrize(
    "twins", [("a.png", "b.png"), ("volume-1_2.png", "volume-1_02.png"), ("volume-1_2.png", "volume-1_2 (1).png")]
)
def test_what_nothing_puts_in_order_has_no_neighbours(tmp_path: Path, twins: tuple[str, ...]) -> None:
    images = tmp_path / "train" / "images"
    for seed, name in enumerate(twins):
        save(images / name, grey_pixels(SIZE, seed))
    (images.parent / "targets.csv").write_text("\n".join(["file,target,patient", *(f"{name},0,p" for name in twins)]))
    found = read_layout(tmp_path, ("train",)).splits["train"]
    assert [one.neighbours(3) for one in found] == [(one.image,) * 3 for one in found]
    (volume,) = volumes([(name, "p", "s") for name in twins])
    assert volume.doubts


class Noting(FakeRuntime):
    """Notes what reaches the network."""

    def __init__(self) -> None:
        super().__init__(shape=(3, SIZE, SIZE))
        self.seen: set[bytes] = set()

    def _infer(self, batch: Batch) -> Outputs:
        self.seen |= {one.tobytes() for one in np.asarray(batch)}
        return super()._infer(batch)


def test_a_folder_gives_training_evaluate_and_classify_the_same_channels(tmp_path: Path) -> None:
    folder, rows = tmp_path / "data" / "test", ["file,target,patient"]
    stems = [f"volume-7_{n}" for n in range(1, 13)]
    stems += [
        "volume-12_10",
        "volume-12_9",
        "volume-3_1",
        "volume-3_01",
        "volume-3_2",
        "x_1",
        "x_1 (1)",
        "x_2",
        "a",
        "b",
    ]
    for seed, stem in enumerate(stems):
        save(folder / "images" / f"{stem}.png", grey_pixels(SIZE, seed))
        rows.append(f"{stem}.png,0,{stem.partition('_')[0]}")
    (folder / "targets.csv").write_text("\n".join(rows))
    contract: Any = InputContract(window_hu=None, size=SIZE, crop=56, channels=3)
    samples = in_order(read_layout(folder.parent, ("test",)).splits["test"])
    trained, _, _ = SliceDataset(samples, contract, masks=False)[torch.arange(len(samples))]
    evaluated = [picture for one in samples if (picture := read_answer(one, contract, Identity())[1]) is not None]
    network, bundle = Noting(), make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56, channels=3)
    run_folder(bundle, [folder / "images"], tmp_path / "out", options=ClassifyOptions(salt=SALT), runtime=network)
    assert len(evaluated) == len(samples) == len(stems)
    assert {one.numpy().tobytes() for one in trained} == {one.tobytes() for one in evaluated} == network.seen
    assert len(network.seen) == len(stems)


def test_answers_come_in_the_order_of_slices() -> None:
    samples = [Sample(Path(f"volume-0_{n}.png"), None, 0, "0") for n in (10, 9, 1, 2, 100)]
    assert [one.image.stem[9:] for one in in_order(samples)] == ["1", "2", "9", "10", "100"]
