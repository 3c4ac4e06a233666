"""What a scale leaves of the data, and other splits of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from lits_deploy.errors import DataError, UserError
from tiny_data import make_tiny_data
from train.data.layout import read_layout
from train.recipes.lab import views
from train.recipes.lab.dataset import DataSet
from train.recipes.lab.scale import FULL, TINY, parse_scale


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("views")
    return DataSet(make_tiny_data(folder / "data", slices=12, patients=(3, 1, 2)), folder / "cache")


def test_a_scale_shrinks_slices_epochs_width_and_minutes() -> None:
    tenth = parse_scale("0.1")
    assert tenth.slices_of("train", 1000) == 316
    assert (tenth.epochs_of(15), tenth.epochs_of(6), tenth.width) == (5, 2, 20)
    assert tenth.minutes == 0.1
    assert parse_scale("1") is FULL
    assert (FULL.slices_of("train", 35_484), FULL.epochs_of(15), FULL.width) == (35_484, 15, 64)
    assert parse_scale("tiny") is TINY
    assert [TINY.slices_of(split, 1000) for split in ("train", "validate", "test")] == [9, 6, 6]
    assert TINY.epochs_of(1) == 1


@pytest.mark.parametrize("text", ["0", "2", "-1", "nan", "small", ""])
def test_a_wrong_scale_names_the_right_ones(text: str) -> None:
    with pytest.raises(UserError, match="up to 1, or tiny"):
        parse_scale(text)


def test_thinning_keeps_the_shares_of_classes_and_patients(data: DataSet) -> None:
    samples = data.layout.splits["train"]
    kept = views.thin(data, samples, 18)
    assert len(kept) == 18
    assert Counter(data.classes[sample.image] for sample in kept) == {0: 6, 1: 6, 2: 6}
    assert Counter(sample.patient for sample in kept) == {"000": 6, "001": 6, "002": 6}
    assert views.thin(data, samples, 18) == kept
    assert views.thin(data, samples, 99) == list(samples)


def test_thinning_leaves_two_of_every_class(data: DataSet) -> None:
    kept = views.thin(data, data.layout.splits["validate"], 3)
    assert Counter(data.classes[sample.image] for sample in kept) == {0: 2, 1: 2, 2: 2}


def test_by_slice_puts_patients_on_both_sides_and_loses_no_slice(data: DataSet) -> None:
    base = views.scaled(data, FULL)
    dealt = views.by_slice(base)
    assert {split: len(samples) for split, samples in dealt.items()} == {"train": 36, "validate": 12, "test": 24}
    images = sorted(sample.image for samples in dealt.values() for sample in samples)
    assert images == sorted(sample.image for sample in data.samples)
    assert {s.patient for s in dealt["test"]} & {s.patient for s in dealt["train"]}


def test_neighbours_differ_in_nothing_but_whom_was_trained_on(data: DataSet) -> None:
    base = views.scaled(data, FULL)
    mixed = views.with_neighbours(data, base)
    assert len(mixed["train"]) == len(base["train"])
    assert mixed["validate"] == base["validate"]
    assert set(mixed["test"]) < set(base["test"])
    assert not set(mixed["test"]) & set(mixed["train"])
    assert len(set(mixed["train"]) & set(base["test"])) == len(base["test"]) // 2


def test_a_view_reads_as_a_data_set_of_links(data: DataSet, tmp_path: Path) -> None:
    dealt = views.by_slice(views.scaled(data, FULL))
    folder = views.write_view(data, dealt, tmp_path, name="by-slice", split_by="slice")
    layout = read_layout(folder)
    assert layout.split_by == "slice"
    assert {split: len(samples) for split, samples in layout.splits.items()} == {
        "train": 36,
        "validate": 12,
        "test": 24,
    }
    for sample in layout.splits["test"]:
        assert sample.image.is_symlink()
        assert sample.mask is not None
        assert sample.image.resolve().parent.parent.parent == data.root.resolve()
        assert sample.mask.resolve().stem == sample.image.resolve().stem
    before = folder.stat().st_mtime_ns
    assert views.write_view(data, dealt, tmp_path, name="by-slice", split_by="slice") == folder
    assert folder.stat().st_mtime_ns == before
    other = views.write_view(data, views.scaled(data, TINY), tmp_path, name="tiny", split_by="patient")
    assert read_layout(other).split_by == "patient"


def test_a_view_keeps_targets_csv_and_names_that_occur_twice(tmp_path: Path) -> None:
    root = make_tiny_data(tmp_path / "data", slices=3)
    for split in ("train", "validate", "test"):
        images = sorted((root / split / "images").iterdir())
        for mask in (root / split / "masks").iterdir():
            mask.unlink()
        lines = []
        for index, image in enumerate(images):
            image.rename(image.with_name(f"{index}.png"))
            lines.append(f"{index}.png,{index % 3},{split}-{index // 3}")
        (root / split / "targets.csv").write_text("file,target,patient\n" + "\n".join(lines) + "\n")
    data = DataSet(root, tmp_path / "cache")
    assert not data.has_masks
    dealt = views.by_slice(views.scaled(data, FULL))
    folder = views.write_view(data, dealt, tmp_path, name="by-slice", split_by="slice")
    found = [sample for samples in read_layout(folder).splits.values() for sample in samples]
    assert Counter(sample.patient for sample in found) == Counter(sample.patient for sample in data.samples)
    assert Counter(sample.target for sample in found) == Counter(sample.target for sample in data.samples)


def test_data_split_by_slice_is_dealt_by_patient_for_the_comparison(data: DataSet, tmp_path: Path) -> None:
    mixed = views.write_view(data, views.by_slice(views.scaled(data, FULL)), tmp_path, name="m", split_by="slice")
    again = views.by_patient(DataSet(mixed, tmp_path / "cache"))
    people = [{sample.patient for sample in samples} for samples in again.values()]
    assert all(people)
    assert not people[0] & people[2]
    assert views.by_patient(data) == views.scaled(data, FULL)
    few = make_tiny_data(tmp_path / "few", patients=(1, 0, 1))
    (few / "validate" / "images").rmdir()
    (few / "validate").joinpath("masks").rmdir()
    for kind in ("images", "masks"):
        target = few / "validate" / kind
        target.mkdir(parents=True)
        for path in (few / "test" / kind).iterdir():
            (target / path.name).symlink_to(path)
    with pytest.raises(DataError, match="too few to split by patient"):
        views.by_patient(DataSet(few, tmp_path / "cache"))


def test_classes_are_read_once_and_recognised_by_their_data(data: DataSet) -> None:
    assert data.counts("train") == (12, 12, 12)
    (cached,) = data.cache.glob("classes-*.json")
    assert data.identity in cached.name
    again = DataSet(data.root, data.cache)
    known = json.loads(cached.read_text())
    known["train/images/volume-000_0000.png"] = 2
    cached.write_text(json.dumps(known))
    assert again.counts("train") == (11, 12, 13)
    (data.root / "dataset.json").write_text('{"window_hu": [0, 1]}')
    assert DataSet(data.root, data.cache).identity != data.identity
    (data.root / "dataset.json").unlink()
    cached.unlink()
