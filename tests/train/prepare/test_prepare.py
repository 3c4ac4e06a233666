"""`data prepare` over whole sources: four layouts, one result; splits; going on; never half a data set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import DataError, OutputError, UserError
from lits_sources import (
    WINDOW,
    as_stored,
    load_png,
    noise_patient,
    phantom_patient,
    save_nifti,
    write_lits,
    write_masks,
    write_msd,
    write_png,
)
from train.data.layout import read_layout
from train.data.masks import largest_label
from train.phantom import folder, write_phantoms
from train.phantom.anatomy import make_phantom
from train.prepare import PreparedData, PrepareSettings, prepare
from train.prepare.split import split_patients

PATIENTS = (0, 1, 2)


def settings(layout: str = "lits", **more: Any) -> PrepareSettings:
    return PrepareSettings(layout=layout, **{"window_hu": WINDOW, **more})  # type: ignore[arg-type]


def slices(root: Path, kind: str = "images") -> dict[str, np.ndarray[Any, Any]]:
    return {path.name: load_png(path) for path in sorted(root.glob(f"*/{kind}/*.png"))}


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def provenance(root: Path) -> dict[str, dict[str, Any]]:
    return {record["patient"]: record for record in json.loads((root / "provenance.json").read_text())["volumes"]}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients as LiTS volumes."""
    return write_lits(tmp_path_factory.mktemp("noise"), [noise_patient(number) for number in PATIENTS])


def test_a_phantom_comes_back_the_same_from_every_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(seed: int, patient: int) -> Any:
        return make_phantom(seed, patient, slices=6)

    monkeypatch.setattr(folder, "make_phantom", small)
    write_phantoms(tmp_path / "phantom", 3, 11, window=WINDOW, workers=1)
    write_phantoms(tmp_path / "lits", 3, 11, "nifti", workers=1)
    patients = [phantom_patient(number) for number in PATIENTS]
    write_msd(tmp_path / "msd", patients)
    write_png(tmp_path / "lits-png", patients)
    write_masks(tmp_path / "masks", patients)
    wanted = {kind: slices(tmp_path / "phantom", kind) for kind in ("images", "masks")}
    assert len(wanted["images"]) == 18
    described = []
    for layout in ("lits", "msd", "lits-png", "masks"):
        out = tmp_path / f"{layout}-out"
        done = prepare(tmp_path / layout, out, settings(layout), workers=1)
        assert done.failed == ()
        for kind, pictures in wanted.items():
            assert same(slices(out, kind), pictures), (layout, kind)
        described.append((done.dataset["slices_per_class"], done.dataset["patients"], done.orientation))
        classes = [record["slices"]["class"] for record in provenance(out).values()]
        assert classes == [[int(level.max()) for level in patient.labels] for patient in patients]
    assert all(each == described[0] for each in described)
    assert described[0][2] == {"upright": ["0", "1", "2"]}


@pytest.mark.parametrize("name", ["phantom.json", "dataset.json"])
def test_what_is_made_of_phantoms_is_synthetic_too(noise: Path, tmp_path: Path, name: str) -> None:
    assert "synthetic" not in prepare(noise, tmp_path / "plain", settings(), workers=1).dataset
    shutil.copytree(noise, tmp_path / "raw")
    (tmp_path / "raw" / name).write_text(json.dumps({"source": "phantom"}))  # as versions before the mark wrote it
    assert prepare(tmp_path / "raw", tmp_path / "out", settings(), workers=1).dataset["synthetic"] is True
    assert read_layout(tmp_path / "out").synthetic


def test_dataset_and_provenance_say_where_every_slice_came_from(noise: Path, tmp_path: Path) -> None:
    done = prepare(noise, tmp_path / "out", settings(), workers=1)
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert dataset == done.dataset
    assert (dataset["layout"], dataset["seed"], dataset["split_by"]) == ("lits", 0, "patient")
    assert dataset["window_hu"] == list(WINDOW)
    assert dataset["spacing_mm"] == {"0": [5.0, 0.8, 0.8], "1": [5.0, 0.8, 0.8], "2": [5.0, 0.8, 0.8]}
    assert sum(map(sum, dataset["slices_per_class"].values())) == 12
    layout = read_layout(tmp_path / "out")
    assert layout.window_hu == WINDOW
    assert layout.describe()["split_by"] == "patient"
    record = provenance(tmp_path / "out")["1"]
    assert [path for path, _ in record["files"]] == [
        "Training Batch 1/volume-1.nii",
        "Training Batch 1/segmentation-1.nii",
    ]
    assert all(len(sha) == 64 for _, sha in record["files"])
    assert record["slices"] == {
        "number": [0, 1, 2, 3],
        "index": [0, 1, 2, 3],
        "class": [0, 1, 2, 0],
        "split": next(split for split, numbers in dataset["patients"].items() if 1 in numbers),
    }
    assert record["orientation"]["basis"] == "header LAS"
    assert not (tmp_path / "out" / ".prepare-unfinished").exists()


def test_shrinking_is_the_mean_of_the_picture_and_the_maximum_of_the_mask(tmp_path: Path) -> None:
    patient = noise_patient(7, size=512, slices=3)
    prepare(write_lits(tmp_path / "raw", [patient]), tmp_path / "out", settings(), workers=1)
    grey = window_to_uint8(patient.hu[2], WINDOW)
    wanted = np.asarray(Image.fromarray(grey).reduce(2))
    assert np.array_equal(slices(tmp_path / "out")["volume-007_0002.png"], wanted)
    mask = slices(tmp_path / "out", "masks")["volume-007_0002.png"]
    assert np.array_equal(mask, patient.labels[2].reshape(256, 2, 256, 2).max(axis=(1, 3)))
    assert (mask == 2).sum() == 1
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["spacing_mm"] == {"7": [5.0, 1.6, 1.6]}


@pytest.mark.parametrize(("side", "size"), [(300, 256), (512, 256), (200, 256), (256, 256), (257, 256)])
def test_no_label_is_lost_in_any_size(side: int, size: int) -> None:
    for row, column in ((0, 0), (side - 1, 3), (side // 2, side - 1), (131, 77)):
        labels = np.zeros((side, side), np.uint8)
        labels[row, column] = 2
        small = largest_label(labels, size)
        assert small.shape == (size, size)
        assert small[row * size // side, column * size // side] == 2
        assert (small == 2).sum() <= (4 if side > size else (np.ceil(size / side) + 1) ** 2)


def test_workers_and_interruptions_do_not_change_a_byte(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(noise, tmp_path / "whole", settings(), workers=2)
    save, saved = Image.Image.save, []

    def failing(self: Image.Image, target: Path, **options: Any) -> None:
        saved.append(target)
        if len(saved) == 14:  # in the second volume
            raise KeyboardInterrupt
        save(self, target, **options)

    out = tmp_path / "cut"
    with monkeypatch.context() as broken:
        broken.setattr(Image.Image, "save", failing)
        with pytest.raises(KeyboardInterrupt):
            prepare(noise, out, settings(), workers=1)
    assert not (out / "dataset.json").exists()
    assert not list(out.rglob("*.tmp"))
    with pytest.raises(OutputError, match="window_hu"):
        prepare(noise, out, settings(window_hu=(-160.0, 240.0)), workers=1, resume=True)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/volume-000_*.png")}
    done = prepare(noise, out, settings(), workers=1, resume=True)
    assert done.kept == 1
    assert before
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert tree(out) == tree(tmp_path / "whole")


def test_an_unfinished_folder_is_begun_anew_without_resume(noise: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(noise, tmp_path / "fresh", settings(seed=3), workers=1)
    state = out / ".prepare-unfinished"
    state.mkdir(parents=True)
    (state / "settings.json").write_text("{}")
    (out / "train" / "images").mkdir(parents=True)
    (out / "train" / "images" / "volume-099_0000.png").write_bytes(b"left over")
    (out / "train" / "images" / ".volume-001_0002.png.4711.tmp").write_bytes(b"half, of a killed process")
    (out / "notes.txt").write_text("mine")
    prepare(noise, out, settings(seed=3), workers=1)
    (out / "notes.txt").unlink()
    assert tree(out) == tree(tmp_path / "fresh")


def test_resume_adds_a_volume_and_moves_nobody(tmp_path: Path) -> None:
    raw = write_lits(tmp_path / "raw", [noise_patient(number) for number in range(4)])
    (raw / "Training Batch 1" / "segmentation-3.nii").rename(tmp_path / "later.nii")
    first = prepare(raw, tmp_path / "out", settings(), workers=1)
    assert [patient for patient, _ in first.failed] == ["3"]
    (tmp_path / "later.nii").rename(raw / "Training Batch 1" / "segmentation-3.nii")
    with pytest.raises(OutputError, match="--resume"):
        prepare(raw, tmp_path / "out", settings(), workers=1)
    second = prepare(raw, tmp_path / "out", settings(), workers=1, resume=True)
    assert (second.failed, second.kept) == ((), 3)
    for split, numbers in first.dataset["patients"].items():
        assert set(numbers) <= set(second.dataset["patients"][split])
    prepare(raw, tmp_path / "fresh", settings(), workers=1)
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_resume_does_a_changed_volume_again(tmp_path: Path) -> None:
    raw = write_lits(tmp_path / "raw", [noise_patient(number) for number in PATIENTS])
    prepare(raw, tmp_path / "out", settings(), workers=1)
    old = slices(tmp_path / "out")
    write_lits(raw, [noise_patient(2, slices=3, seed=5)])
    assert prepare(raw, tmp_path / "out", settings(), workers=1, resume=True).kept == 2
    new = slices(tmp_path / "out")
    assert set(old) - set(new) == {"volume-002_0003.png"}
    assert not np.array_equal(old["volume-002_0000.png"], new["volume-002_0000.png"])


def test_foreign_and_overlapping_folders_are_refused(noise: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "slice.png").write_bytes(b"a patient's")
    with pytest.raises(OutputError, match="not empty"):
        prepare(noise, tmp_path / "out", settings(), resume=True)
    with pytest.raises(OutputError, match="is a file"):
        prepare(noise, tmp_path / "out" / "slice.png", settings())
    for out in (noise / "out", noise, noise.parent):
        with pytest.raises(UserError, match="within each other"):
            prepare(noise, out, settings())
    with pytest.raises(UserError, match="no folder"):
        prepare(tmp_path / "nowhere", tmp_path / "new", settings())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["slice.png"]


def test_split_is_of_the_patient_alone() -> None:
    names = [str(number) for number in range(131)]
    split = split_patients(names, 0, (70, 15, 15))
    shares = [sum(value == name for value in split.values()) / 131 for name in ("train", "validate", "test")]
    assert shares == pytest.approx([0.70, 0.15, 0.15], abs=0.06)
    assert split_patients(names, 1, (70, 15, 15)) != split
    fewer = split_patients(names[::2], 0, (70, 15, 15))
    assert all(split[name] == where for name, where in fewer.items())
    for seed in range(30):
        assert len(set(split_patients(["4", "8", "15"], seed, (98, 1, 1)).values())) == 3
    assert len(split_patients(["4", "8"], 0, (70, 15, 15))) == 2


def test_split_by_slice_is_marked_for_good(tmp_path: Path) -> None:
    raw = write_masks(tmp_path / "raw", [noise_patient(number, slices=24) for number in PATIENTS])
    done = prepare(raw, tmp_path / "out", settings("masks", split_by="slice", seed=1), workers=1)
    assert any("too high" in warning for warning in done.warnings)
    assert done.dataset["patients"] == {"train": [0, 1, 2], "validate": [0, 1, 2], "test": [0, 1, 2]}
    layout = read_layout(tmp_path / "out")
    assert layout.describe()["split_by"] == "slice"
    # The mark stays where only one split is read, or patients happen not to leak.
    assert read_layout(tmp_path / "out", ("test",)).describe()["split_by"] == "slice"
    assert {len(set(record["slices"]["split"])) for record in provenance(tmp_path / "out").values()} == {3}


def test_a_source_that_comes_split_keeps_its_split(tmp_path: Path) -> None:
    for split, number in (("train", 0), ("val", 1), ("test", 2)):
        write_masks(tmp_path / "raw", [noise_patient(number)], split=split)
    done = prepare(tmp_path / "raw", tmp_path / "out", settings("masks"), workers=1)
    assert done.dataset["patients"] == {"train": [0], "validate": [1], "test": [2]}
    assert (done.dataset["split_given"], done.dataset["split_by"]) == (True, "patient")
    with pytest.raises(DataError, match="comes split"):
        prepare(tmp_path / "raw", tmp_path / "out2", settings("masks", split_by="slice"))
    (tmp_path / "raw" / "test" / "images" / "volume-000_0099.png").write_bytes(
        (tmp_path / "raw" / "train" / "images" / "volume-000_0000.png").read_bytes()
    )
    shutil.copy(
        tmp_path / "raw" / "train" / "masks" / "volume-000_0000.png",
        tmp_path / "raw" / "test" / "masks" / "volume-000_0099.png",
    )
    leaky = prepare(tmp_path / "raw", tmp_path / "out3", settings("masks"), workers=1)
    assert leaky.dataset["split_by"] == "slice"
    assert any("own split" in warning for warning in leaky.warnings)


def test_a_prepared_data_set_is_a_source_itself(noise: Path, tmp_path: Path) -> None:
    prepare(noise, tmp_path / "once", settings(), workers=1)
    again = prepare(tmp_path / "once", tmp_path / "twice", settings("masks", window_hu=None), workers=1)
    assert again.dataset["window_hu"] == list(WINDOW)  # as its dataset.json declares
    assert same(slices(tmp_path / "once"), slices(tmp_path / "twice"))
    with pytest.raises(DataError, match="declares the window"):
        prepare(tmp_path / "once", tmp_path / "thrice", settings("masks", window_hu=(0.0, 100.0)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: settings(window_hu=None), "-160 240"),
        (lambda: settings("msd", window_hu=None), "no default"),
        (lambda: settings(window_hu=(160.0, -40.0)), "LOW < HIGH"),
        (lambda: settings(fractions=(70.0, 30.0)), "70,15,15"),
        (lambda: settings(fractions=(70.0, 30.0, 0.0)), "positive"),
        (lambda: settings(fractions=(70.0, float("nan"), 1.0)), "positive"),
        (lambda: settings(seed=-1), "0 or more"),
    ],
)
def test_impossible_settings_name_the_fix(make: Callable[[], PrepareSettings], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()


def test_nothing_usable_is_an_error_and_writes_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"volume-N\.nii"):
        prepare(tmp_path / "empty", tmp_path / "out", settings())
    assert not (tmp_path / "out").exists()
    save_nifti(tmp_path / "raw" / "volume-4.nii", as_stored(np.zeros((2, 64, 64), np.int16)), np.eye(4))
    with pytest.raises(DataError, match=r"there is no segmentation-4\.nii"):
        prepare(tmp_path / "raw", tmp_path / "out", settings())
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_progress_counts_patients(noise: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    done: PreparedData = prepare(
        noise, tmp_path / "out", settings(), workers=1, progress=lambda a, b: seen.append((a, b))
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert done.prepared == 3
