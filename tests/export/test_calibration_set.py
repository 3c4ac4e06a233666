"""Calibration slices: balanced, always the same, of training patients only."""

from __future__ import annotations

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.held_out import HeldOut
from export.precision.calibration_set import balanced, from_training_patients, parse
from export.precision.ranges import METHODS, Activation
from export.source import Deployed, Original
from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.data.seen import SeenSlices, sample_keys
from train.models.registry import build, network

CONTRACT = InputContract(window_hu=(-40.0, 160.0), crop=None)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    data = make_tiny_data(tmp_path_factory.mktemp("set") / "data", slices=6, patients=(3, 1, 1))
    module = Deployed(build("unet", width=2), CONTRACT, "segment")
    return Original(info=network("unet"), module=module, contract=CONTRACT, width=2, data=data)


def test_classes_and_patients_get_equal_parts_of_what_they_have() -> None:
    classes = [0] * 60 + [1] * 30 + [2] * 4
    patients = ["a", "b"] * 45 + ["a", "a", "a", "b"]
    chosen = balanced(classes, patients, 30)
    assert len(set(chosen)) == 30
    assert Counter(classes[index] for index in chosen) == {0: 13, 1: 13, 2: 4}, "class 2 has no more to give"
    assert abs(Counter(patients[i] for i in chosen if classes[i] == 0)["a"] - 6.5) < 1
    assert balanced(classes, patients, 10_000) == list(range(94))
    spread = balanced([0] * 100, ["a"] * 100, 4)
    assert spread == [12, 37, 62, 87]


def test_the_same_slices_and_hash_each_time(original: Original) -> None:
    assert original.data is not None
    first, second = (from_training_patients(HeldOut(original), original.data, count=9) for _ in "12")
    assert first.record == second.record
    assert first.slices.shape == (9, 1, 256, 256)
    assert first.record["classes"] == [3, 3, 3]
    assert len(first.record["patients"]) == 3
    other = from_training_patients(HeldOut(original), original.data, count=8)
    assert other.record["sha256"] != first.record["sha256"]


def test_a_patient_of_validate_is_refused(original: Original, tmp_path: Path) -> None:
    assert original.data is not None
    leaky = tmp_path / "leaky"
    shutil.copytree(original.data, leaky)
    for kind in ("images", "masks"):  # another slice of patient 0, in validate
        (leaky / "train" / kind / "volume-000_0001.png").rename(leaky / "validate" / kind / "volume-000_0001.png")
    with pytest.raises(DataError, match=r"also stand in validate or test \(000\)"):
        from_training_patients(HeldOut(original), leaky)


def test_patients_that_the_run_held_back_are_refused(original: Original) -> None:
    assert original.data is not None
    dataset = {"name": "data", "patients": {"train": ["001"], "validate": ["000"], "test": []}}
    trained = dataclasses.replace(original, training={"dataset": dataset})
    with pytest.raises(DataError, match=r"\(000\)"):
        from_training_patients(HeldOut(trained), original.data)
    dataset["name"] = "another"  # whose patient 000 is somebody else
    assert from_training_patients(HeldOut(trained), original.data, count=3).record["slices"] == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_a_copied_picture_is_refused_in_any_format_and_under_any_name(
    original: Original, tmp_path: Path, channels: int
) -> None:
    original = with_channels(original, channels)
    copy = with_a_copy(original, tmp_path / "copy")
    with pytest.raises(DataError, match=r"1 calibration slices are also in validate or test \(volume-077_0000.png\)"):
        from_training_patients(HeldOut(original), copy)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("split", ["validate", "test"])
def test_what_the_training_held_back_is_refused_where_its_data_is_gone(
    original: Original, tmp_path: Path, channels: int, split: str
) -> None:
    assert original.data is not None
    copy = with_a_copy(original, tmp_path / "copy")
    keys = sample_keys(read_layout(original.data).splits["test"], CONTRACT)
    seen = SeenSlices(splits={split: np.array(sorted(key for key in keys if key is not None), np.uint64)})
    gone = dataclasses.replace(with_channels(original, channels), data=None)
    assert from_training_patients(HeldOut(gone), copy).record["slices"] == 19
    with pytest.raises(DataError, match=r"1 calibration slices are also in validate or test"):
        from_training_patients(HeldOut(dataclasses.replace(gone, seen=seen)), copy)


def with_channels(original: Original, channels: int) -> Original:
    contract = dataclasses.replace(original.contract, channels=channels)
    return dataclasses.replace(original, contract=contract)


def with_a_copy(original: Original, copy: Path) -> Path:
    """The train split alone, with a slice of test in it: in colour, as a new patient."""
    assert original.data is not None
    shutil.copytree(original.data, copy)
    shutil.rmtree(copy / "validate")
    shutil.rmtree(copy / "test")
    with Image.open(original.data / "test" / "images" / "volume-004_0002.png") as picture:
        picture.convert("RGB").save(copy / "train" / "images" / "volume-077_0000.png")
    shutil.copy(
        original.data / "test" / "masks" / "volume-004_0002.png", copy / "train" / "masks" / "volume-077_0000.png"
    )
    return copy


def test_names_of_data_sets() -> None:
    assert parse("data") == parse("data:train") == Path("data")
    assert parse("C:data") == Path("C:data")
    for split in ("validate", "test"):
        with pytest.raises(DataError, match="come from training patients") as caught:
            parse(f"data:{split}")
        assert caught.value.fix == "--calibration data:train"


@pytest.mark.parametrize("method", METHODS)
def test_ranges_hold_the_bulk_and_zero(method: str) -> None:
    rng = np.random.default_rng(0)
    values = Activation()
    for scale in (0.1, 1.0, 5.0):  # the histogram has to grow
        values.add(np.abs(rng.normal(0, scale, 20_000)).astype(np.float32))
    assert values.counts is not None
    assert values.counts.sum() == 60_000
    low, high = values.clipped(method)  # type: ignore[arg-type]
    assert low == 0.0
    assert 0.4 * values.largest < high <= values.largest


def test_a_lone_outlier_is_clipped_by_all_but_max() -> None:
    values = Activation()
    values.add(np.abs(np.random.default_rng(0).normal(0, 1, 200_000)).astype(np.float32))
    values.add(np.array([200.0], np.float32))
    high = {method: values.clipped(method)[1] for method in METHODS}
    assert high["max"] == 200.0
    assert high["percentile"] < 6
    assert high["entropy"] < 60
    assert high["error"] < 150


def test_values_that_are_no_number_count_as_infinite() -> None:
    values = Activation()
    values.add(np.array([1.0, np.nan], np.float32))
    values.add(np.array([2.0], np.float32))
    assert values.largest == np.inf
