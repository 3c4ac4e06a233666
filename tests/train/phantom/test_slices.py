"""Phantoms: equal numbers, equal bytes; plausible CT; honest masks; a data set that is whole or says it is not."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lits_deploy.cli.app import app
from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import OutputError, UserError
from train.phantom import Phantom, folder, make_phantom, split_patients, write_phantoms

SEED, PATIENTS = 0, 12
TABLE_1 = (68.4, 20.0, 11.6)
WINDOW = (-40.0, 160.0)


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    """Twelve patients, made in two processes."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(partial(make_phantom, SEED), range(PATIENTS)))


@cache
def small(seed: int, patient: int) -> Phantom:
    return make_phantom(seed, patient, slices=4)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """`write_phantoms` with four slices a patient, in this process, each patient made only once."""
    monkeypatch.setattr(folder, "make_phantom", small)


def classes(phantom: Phantom) -> np.ndarray[Any, Any]:
    return phantom.labels.max(axis=(1, 2))


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_shapes_and_types(phantoms: list[Phantom]) -> None:
    for number, phantom in enumerate(phantoms):
        assert phantom.hu.dtype == np.int16
        assert phantom.labels.dtype == np.uint8
        assert phantom.hu.shape == phantom.labels.shape == (len(phantom.hu), 256, 256)
        assert 34 <= len(phantom.hu) <= 48
        assert (phantom.seed, phantom.patient) == (SEED, number)
        assert set(np.unique(phantom.labels)) <= {0, 1, 2}
        assert phantom.grid_mm[0] > phantom.grid_mm[1] > 0.8


def test_same_numbers_same_voxels_others_differ(phantoms: list[Phantom]) -> None:
    again = make_phantom(SEED, 2)
    assert np.array_equal(again.hu, phantoms[2].hu)  # made in another process, after other patients
    assert np.array_equal(again.labels, phantoms[2].labels)
    assert again.lesions == phantoms[2].lesions
    assert not np.array_equal(small(SEED + 1, 2).hu, small(SEED, 2).hu)


def test_slices_sample_the_same_stretch() -> None:
    few, single = make_phantom(3, 1, slices=5), make_phantom(3, 1, slices=1)
    assert few.hu.shape == (5, 256, 256)
    assert single.hu.shape == (1, 256, 256)
    assert single.grid_mm[0] == pytest.approx(5 * few.grid_mm[0])
    with pytest.raises(UserError):
        make_phantom(3, -1)


def test_lesions_lie_strictly_inside_the_liver(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        lesion, liver = phantom.labels == 2, phantom.labels >= 1
        for axis in (1, 2):
            for step in (-1, 1):
                assert not (lesion & ~np.roll(liver, step, axis)).any()


def test_no_slivers(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        for level in phantom.labels:
            assert (level >= 1).sum() == 0 or (level >= 1).sum() >= 12
            assert (level == 2).sum() == 0 or (level == 2).sum() >= 12


def test_hu_are_plausible(phantoms: list[Phantom]) -> None:
    ranges = {"portal": (80, 125), "fatty": (30, 80), "arterial": (55, 95), "unenhanced": (42, 70)}
    assert len({phantom.person.phase for phantom in phantoms}) >= 3
    for phantom in phantoms:
        hu, liver = phantom.hu, phantom.labels == 1
        low, high = ranges[phantom.person.phase]
        assert low < hu[liver].mean() < high, phantom.person.phase
        assert hu[:, :4].mean() == pytest.approx(-1000, abs=15)  # air above the patient
        assert hu.min() >= -1024
        assert ((hu > -950) & (hu < -700))[-len(hu) // 4 :].mean() > 0.1  # lungs in the top quarter
        assert ((hu > -160) & (hu < -60)).mean() > 0.04  # fat
        assert ((hu > 20) & (hu < 90)).mean() > 0.05  # muscle
        assert (hu > 250).any(axis=(1, 2)).mean() > 0.95  # bone, on practically every slice


def test_liver_is_one_body_in_3d(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        liver = phantom.labels >= 1
        area = liver.sum(axis=(1, 2))
        levels = np.flatnonzero(area)
        assert np.array_equal(levels, np.arange(levels[0], levels[-1] + 1))  # no gap
        assert levels[0] > 0  # pelvis below
        assert levels[-1] < len(area) - 1  # chest above
        assert liver[:, :, :128].sum() > 1.5 * liver[:, :, 128:].sum()  # on the patient's right
        for below, above in pairwise(levels):
            smaller = min(area[below], area[above])
            if smaller > 300:
                assert (liver[below] & liver[above]).sum() > 0.6 * smaller


def test_class_shares_are_near_table_1(phantoms: list[Phantom]) -> None:
    counts = np.bincount(np.concatenate([classes(p) for p in phantoms]), minlength=3)
    assert 100 * counts / counts.sum() == pytest.approx(TABLE_1, abs=5)


def test_lesions_vary_and_some_livers_are_healthy(phantoms: list[Phantom]) -> None:
    lesions = [(p, lesion) for p in phantoms for lesion in p.lesions]
    assert any(not p.lesions for p in phantoms)
    assert max(len(p.lesions) for p in phantoms) >= 5
    assert max(lesion.diameter_mm for _, lesion in lesions) > 30
    assert all(5 <= x.diameter_mm <= 60 and -60 <= x.contrast_hu <= 25 for _, x in lesions)
    faint = [(p, x) for p, x in lesions if x.diameter_mm <= 12 and -20 <= x.contrast_hu <= -12]
    assert len(faint) >= 4
    assert any(p.labels[x.at] == 2 for p, x in faint)


def test_dark_lesions_are_darker_than_the_liver(phantoms: list[Phantom]) -> None:
    plain = [(p, x) for p in phantoms for x in p.lesions if x.contrast_hu < -35 and x.diameter_mm > 15]
    assert plain
    for phantom, lesion in plain:
        level = phantom.labels[lesion.at[0]]
        if (level == 2).sum() > 60:
            hu = phantom.hu[lesion.at[0]]
            assert hu[level == 2].mean() < hu[level == 1].mean() - 8


@pytest.mark.parametrize("patients", [3, 4, 12, 24])
def test_split_is_by_patient(patients: int) -> None:
    split = split_patients(patients)
    assert list(split) == ["train", "validate", "test"]
    assert all(split.values())
    assert sorted(chain(*split.values())) == list(range(patients))
    assert len(split["train"]) >= patients // 2


def test_data_set_does_not_depend_on_processes(
    tmp_path: Path, phantoms: list[Phantom], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    with monkeypatch.context() as reused:  # made by two processes, three of twelve
        reused.setattr(folder, "make_phantom", lambda seed, patient: phantoms[patient])
        summary = write_phantoms(tmp_path / "a", 3, SEED, workers=1, progress=lambda *done: seen.append(done))
    write_phantoms(tmp_path / "b", 3, SEED, workers=3)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert seen == [(1, 3), (2, 3), (3, 3)]

    written = json.loads((tmp_path / "a" / "dataset.json").read_text())
    assert written["synthetic"] is True
    assert written == summary
    assert written["window_hu"] == list(WINDOW)
    assert (written["source"], written["split_by"], written["seed"]) == ("phantom", "patient", SEED)
    assert written["patients"] == {"train": [0], "validate": [1], "test": [2]}
    for number, split in enumerate(("train", "validate", "test")):
        phantom = phantoms[number]
        files = sorted((tmp_path / "a" / split / "images").iterdir())
        assert [f.name for f in files] == [f"volume-{number:03d}_{z:04d}.png" for z in range(len(phantom.hu))]
        for z in (0, len(files) // 2):
            mask = files[z].parent.parent / "masks" / files[z].name
            assert np.array_equal(np.asarray(Image.open(files[z])), window_to_uint8(phantom.hu[z], WINDOW))
            assert np.array_equal(np.asarray(Image.open(mask)), phantom.labels[z])
        assert written["slices_per_class"][split] == np.bincount(classes(phantom), minlength=3).tolist()


@pytest.mark.usefixtures("quick")
def test_cut_off_run_leaves_whole_files_and_can_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    save, saved = Image.Image.save, []

    def failing(self: Image.Image, target: Path, **options: Any) -> None:
        saved.append(target)
        if len(saved) == 11:  # patient 1's second image, after half of it
            target.write_bytes(b"\x89PNG half")
            raise OSError(28, "No space left on device")
        save(self, target, **options)

    with monkeypatch.context() as broken:
        broken.setattr(Image.Image, "save", failing)
        with pytest.raises(OSError, match="No space"):
            write_phantoms(out, 3, SEED, workers=1)
    assert not (out / "dataset.json").exists()
    assert not list(out.rglob("*.tmp"))
    for path in out.rglob("*.png"):
        Image.open(path).load()
    write_phantoms(out, 3, SEED, workers=1)
    write_phantoms(tmp_path / "fresh", 3, SEED, workers=1)
    assert digest(out) == digest(tmp_path / "fresh")


@pytest.mark.usefixtures("quick")
def test_writing_again_leaves_nothing_stale_and_nothing_else_touched(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "out", 4, SEED, workers=1)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    write_phantoms(tmp_path / "out", 3, SEED + 1, workers=1)
    write_phantoms(tmp_path / "fresh", 3, SEED + 1, workers=1)
    (tmp_path / "fresh" / "notes.txt").write_text("mine")
    assert digest(tmp_path / "out") == digest(tmp_path / "fresh")


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slice.png").write_bytes(b"a patient's")
    with pytest.raises(OutputError, match="not empty"):
        write_phantoms(tmp_path, 3, SEED)
    (tmp_path / "dataset.json").write_text('{"source": "LiTS"}')
    with pytest.raises(OutputError, match="not empty"):
        write_phantoms(tmp_path, 3, SEED)
    with pytest.raises(OutputError, match="is a file"):
        write_phantoms(tmp_path / "slice.png", 3, SEED)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset.json", "slice.png"]


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"patients": 2}, "at least 3"),
        ({"seed": -1}, "0 or more"),
        ({"window": (160.0, -40.0)}, "LOW < HIGH"),
    ],
)
def test_impossible_numbers_are_refused(tmp_path: Path, numbers: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        write_phantoms(tmp_path / "out", **{"patients": 3, "seed": 0, **numbers})
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick")
def test_command_prints_shares_and_the_next_command(tmp_path: Path) -> None:
    out = tmp_path / "data"
    result = CliRunner().invoke(app, ["data", "phantom", str(out), "--patients", "3", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "2 liver with lesion" in result.output
    assert f"lits-deploy train --data {out}" in result.output
    assert (out / "dataset.json").exists()
