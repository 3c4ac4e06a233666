"""The API's answers are the command line's, to the last digit: arrays, files, series, several channels, pairs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lits_deploy as ld
from folder_runs import rows
from pictures import folder_of_slices, grey_pixels, save
from scan_files import WINDOW, body, ct, nifti, stack
from tiny_bundle import make_tiny_bundle
from tiny_pair import FUSION, make_tiny_pair
from tiny_unet import make_tiny_unet

SIZE, COUNT = 64, 11  # two batches, one of them not full
CPU = ld.ClassifyOptions(runtime="onnxruntime", device="cpu", workers=1)


def bundle_in(folder: Path, **changes: Any) -> ld.Bundle:
    wanted = {"temperature": 1.7, "abstain_below": 0.6, "window_hu": WINDOW, **changes}
    return make_tiny_bundle(folder, size=SIZE, crop=56, **wanted)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray[Any, Any]:
    """uint8 [N, S, S]; the last one is empty."""
    return np.stack([*(grey_pixels(SIZE, seed) for seed in range(COUNT - 1)), np.zeros((SIZE, SIZE), np.uint8)])


@pytest.fixture(scope="module")
def volume() -> np.ndarray[Any, Any]:
    """HU int16 [N, 128, 128] from feet to head; the last one is air."""
    return np.concatenate([stack(COUNT - 1), np.full((1, 128, 128), -1000, np.int16)])


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory, pictures: Any, volume: Any) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number, pixels in enumerate(pictures):
        save(folder / "pictures" / f"im-{number}.png", pixels)
    (folder / "pictures" / "im-99.png").write_bytes(b"")
    (folder / "dicom").mkdir()
    for number, hu in enumerate(volume):
        data = ct(hu, ImagePositionPatient=[-160, -160, 30 + 5 * number], SOPInstanceUID=f"2.25.3.{number}")
        (folder / "dicom" / f"IM{number}").write_bytes(data)
    (folder / "nifti").mkdir()
    (folder / "nifti" / "volume.nii").write_bytes(nifti(volume))
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ld.Bundle:
    return bundle_in(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def table(bundle: ld.Bundle, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """slices.csv, as the command writes it."""
    out = tmp_path_factory.mktemp("command") / "out"
    options = ["--out", out, "--runtime", "onnxruntime", "--device", "cpu", "--workers", "1"]
    command = [sys.executable, "-m", "lits_deploy", "classify", bundle.folder, scans, *options]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # one file is empty
    return rows(out)


@pytest.fixture(scope="module")
def clf(bundle: ld.Bundle) -> Any:
    with ld.Classifier(bundle, options=CPU) as opened:
        yield opened


COMPARED = ("index", "status", "reason", "label", "class_name", "p0", "p1", "p2", "window")


def as_written(answers: Sequence[ld.SliceAnswer], *more: str) -> list[dict[str, str]]:
    """Answers as the table says them."""
    found = []
    for one in answers:
        p = one.probabilities or (None, None, None)
        cells = {**vars(one), "p0": p[0], "p1": p[1], "p2": p[2], "p_lesion": one.lesion}
        compared = {name: cells[name] for name in (*COMPARED, *more)}
        found.append(
            {
                name: "" if cell is None else f"{cell:.6f}" if isinstance(cell, float) else str(cell)
                for name, cell in compared.items()
            }
        )
    return found


def of_folder(table: list[dict[str, str]], folder: str, *more: str) -> list[dict[str, str]]:
    """The table's rows of one folder in the order of their slices."""
    own = [row for row in table if row["path"].startswith(f"{folder}/")]
    own.sort(key=lambda row: (len(row["path"]), row["path"], int(row["index"])))
    return [{name: row[name] for name in (*COMPARED, *more)} for row in own]


def indexed(expected: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same numbered as an array's slices are, not as those of files of one slice."""
    return [{**row, "index": str(number)} for number, row in enumerate(expected)]


def test_windowed_slices_are_answered_as_pictures_are(clf: ld.Classifier, pictures: Any, table: Any) -> None:
    expected = of_folder(table, "pictures")[:-1]
    assert as_written(clf.predict(pictures)) == indexed(expected)
    assert {row["status"] for row in expected} == {"ok", "abstained", "excluded"}


@pytest.mark.parametrize("dtype", ["int16", ">i2", "int32", "float32", "float64"])
def test_hu_are_answered_as_dicom_is(clf: ld.Classifier, volume: Any, table: Any, dtype: str) -> None:
    expected = of_folder(table, "dicom")
    assert as_written(clf.predict(volume.astype(dtype))) == indexed(expected)
    assert expected[-1]["status"] == "excluded"
    assert len({row["p0"] for row in expected}) == COUNT


def test_hu_are_answered_as_nifti_is(clf: ld.Classifier, volume: Any, table: Any) -> None:
    assert as_written(clf.predict(volume)) == of_folder(table, "nifti")


def test_one_slice_is_a_list_of_one(clf: ld.Classifier, pictures: Any, table: Any) -> None:
    assert as_written(clf.predict(pictures[3])) == indexed(of_folder(table, "pictures")[3:4])
    assert clf.predict(pictures[:0]) == []


def test_an_array_in_any_layout_is_left_as_it_is(clf: ld.Classifier, volume: Any) -> None:
    fortran = np.asfortranarray(volume)
    fortran.flags.writeable = False
    assert clf.predict(fortran) == clf.predict(volume)


@pytest.mark.parametrize("folder", ["pictures", "dicom", "nifti"])
def test_a_series_of_files_is_answered_as_the_command_does(
    clf: ld.Classifier, scans: Path, table: Any, folder: str
) -> None:
    found = clf.predict_series(scans / folder)
    assert as_written(found.slices, "z_mm", "copy_of") == of_folder(table, folder, "z_mm", "copy_of")
    assert found.suspicion == found.figures["suspicion"] is not None
    assert found.figures["slices"] == len(found.slices)
    assert not {"study", "series", "rank"} & found.figures.keys()


def test_a_series_is_named_as_a_text_a_file_or_several(clf: ld.Classifier, scans: Path) -> None:
    whole = clf.predict_series(str(scans / "nifti"))
    assert clf.predict_series(scans / "nifti" / "volume.nii").slices == whole.slices
    files = sorted((scans / "dicom").iterdir())
    assert len(clf.predict_series(files[:3]).slices) == 3


def test_several_series_and_none_are_reported_in_a_line(clf: ld.Classifier, scans: Path, tmp_path: Path) -> None:
    with pytest.raises(ld.UserError, match=r"3 series lie .*one at a time.*classify_folder") as caught:
        clf.predict_series(scans)
    assert all(f"{name}/" in caught.value.message.partition("A file of each: ")[2] for name in ("dicom", "pictures"))
    with pytest.raises(ld.UserError, match="No scans"):
        clf.predict_series(tmp_path)
    with pytest.raises(ld.UserError, match="No scans were named"):
        clf.predict_series([])
    unet = make_tiny_unet(tmp_path / "unet", size=SIZE)
    with ld.Segmenter(unet, options=CPU) as segmenter, pytest.raises(ld.UserError, match=r"3 series lie "):
        segmenter.predict_series(scans)


def test_neighbours_of_an_array_are_those_of_a_series(tmp_path: Path, scans: Path, pictures: Any, volume: Any) -> None:
    bundle = bundle_in(tmp_path / "three", channels=3)
    ld.classify_folder(bundle, scans, tmp_path / "out", options=CPU, report=False)
    written = rows(tmp_path / "out")
    with ld.Classifier(bundle, options=CPU) as clf:
        assert as_written(clf.predict(pictures)) == indexed(of_folder(written, "pictures")[:-1])
        assert as_written(clf.predict(volume)) == of_folder(written, "nifti")
        assert as_written(clf.predict_series(scans / "dicom").slices) == of_folder(written, "dicom")
        (alone,) = clf.predict(pictures[4])
        assert alone.probabilities == clf.predict(np.stack([pictures[4]] * 3))[1].probabilities
        assert alone.probabilities != clf.predict(pictures)[4].probabilities


def test_a_pair_says_what_its_u_net_saw(tmp_path: Path) -> None:
    pair = make_tiny_pair(tmp_path / "pair", fusion={**FUSION, "no_liver_below": 0.004})
    scans = folder_of_slices(tmp_path / "scans", 12, size=SIZE)
    ld.classify_folder(pair, scans, tmp_path / "out", options=CPU, report=False)
    written = sorted(rows(tmp_path / "out"), key=lambda row: row["path"])
    more = ("p_lesion", "liver_pixels", "tumour_pixels")
    with ld.Classifier(pair, options=CPU) as clf:
        found = [clf.predict_series(scans / f"study-{n}").slices for n in (0, 1)]
    expected = [{name: row[name] for name in (*COMPARED, *more)} for row in written]
    assert as_written([*found[0], *found[1]], *more) == expected
    assert {row["liver_pixels"] == "" for row in expected} == {True, False}


def test_a_pair_looks_at_arrays_too(tmp_path: Path, pictures: Any) -> None:
    pair = make_tiny_pair(tmp_path / "pair")
    for number, pixels in enumerate(pictures):
        save(tmp_path / "scans" / f"im-{number}.png", pixels)
    with ld.Classifier(pair, options=CPU) as clf:
        series, array = clf.predict_series(tmp_path / "scans").slices, clf.predict(pictures)
    more = ("p_lesion", "liver_pixels", "tumour_pixels")
    assert as_written(array, *more) == indexed(as_written(series, *more))


def test_options_count_as_on_the_command_line(bundle: ld.Bundle, pictures: Any) -> None:
    with ld.Classifier(bundle, options=replace(CPU, abstain=False, batch_size=2)) as clf:
        assert {one.status for one in clf.predict(pictures)} == {"ok", "excluded"}


def test_maps_are_those_of_the_network(tmp_path: Path, pictures: Any, scans: Path) -> None:
    bundle = bundle_in(tmp_path / "mapped", cam=True)
    with ld.Classifier(bundle, options=CPU, cam=True) as clf:
        answers = clf.predict(pictures)
        series = clf.predict_series(scans / "pictures").slices
        grid = clf.cam_grid
    assert grid is not None
    assert (grid.size, grid.crop) == (SIZE, 56)
    for one, other in zip(answers, series, strict=False):
        assert (one.cam is None) == (one.status == "excluded")
        if one.cam is not None:
            assert other.cam is not None
            assert one.cam.shape == (8, 8)
            np.testing.assert_allclose(one.cam, other.cam, atol=1e-6)
    with ld.Classifier(bundle, options=CPU) as clf:
        assert all(one.cam is None for one in clf.predict(pictures))


def test_masks_lie_on_the_arrays_own_pixels(tmp_path: Path) -> None:
    bundle = make_tiny_unet(tmp_path / "unet", size=SIZE)
    hu = np.stack([body(level)[:100] for level in range(3)])  # not square, and not of the network's size
    with ld.Segmenter(bundle, options=CPU) as segmenter:
        answers = segmenter.predict(hu)
        (nothing,) = segmenter.predict(np.full((128, 128), -1000, np.int16))
    for one, source in zip(answers, hu, strict=True):
        assert one.labels is not None
        assert one.labels.shape == source.shape
        assert one.labels[source > 300].mean() > 1.5  # bone is brighter than any lesion of this network
        assert not one.labels[source < -900].mean() > 0.02
    assert (nothing.status, nothing.labels) == ("excluded", None)


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory, scans: Path) -> tuple[ld.Bundle, Path]:
    """A U-Net's bundle, and what `segment` writes with it."""
    folder = tmp_path_factory.mktemp("segmented")
    unet, out = make_tiny_unet(folder / "unet", size=SIZE), folder / "out"
    options = ["--out", out, "--runtime", "onnxruntime", "--device", "cpu", "--workers", "1", "--format", "csv,jsonl"]
    command = [sys.executable, "-m", "lits_deploy", "segment", unet.folder, scans, *options]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # one file is empty
    return unet, out


@pytest.mark.parametrize("folder", ["pictures", "dicom", "nifti"])
def test_masks_of_a_series_are_those_that_the_command_writes(
    segmented: tuple[ld.Bundle, Path], scans: Path, folder: str
) -> None:
    unet, out = segmented
    with ld.Segmenter(unet, options=CPU) as segmenter:
        found = segmenter.predict_series(str(scans / folder))
    masks = {(row["path"], row["index"]): row for row in json_rows(out / "masks.jsonl") if row["format"] == "png"}
    slices = {(row["path"], row["index"]): row for row in json_rows(out / "slices.jsonl")}
    assert len(found.slices) == sum(path.startswith(f"{folder}/") for path, _ in slices)
    for one in found.slices:
        key = f"{folder}/{one.path}", one.index
        row, mask = slices[key], masks[key]
        assert (one.status, one.window, one.z_mm) == (row["status"], row["window"], row["z_mm"])
        assert one.reason == (row["reason"] or mask["reason"])
        assert (one.labels is None) == (mask["mask"] is None)
        if one.labels is not None:
            written = np.asarray(Image.open(out / mask["mask"]), np.uint8)
            assert one.labels.shape == written.shape
            assert one.labels.tobytes() == written.tobytes()
    (number,) = {row["series"] for row in masks.values() if row["path"].startswith(f"{folder}/") and row["series"]}
    (volume,) = (row for row in json_rows(out / "volumes.jsonl") if row["series"] == number)
    assert found.figures == {name: value for name, value in volume.items() if name in found.figures}
    assert not {"study", "series", "run_id"} & found.figures.keys()
    assert (found.figures["liver_ml"] is None) == (folder == "pictures")
    z = [one.z_mm for one in found.slices if one.z_mm is not None]
    assert z == sorted(z)


def json_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_the_command_writes_the_function_writes(
    bundle: ld.Bundle, scans: Path, table: list[dict[str, str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    reports: list[ld.Progress] = []
    summary = ld.classify_folder(
        str(bundle.folder), str(scans), str(tmp_path / "out"), options=CPU, on_progress=reports.append
    )
    names = {"study", "series", "run_id"}  # of each folder's salt and of its listing
    assert [{k: v for k, v in row.items() if k not in names} for row in rows(tmp_path / "out")] == [
        {k: v for k, v in row.items() if k not in names} for row in table
    ]
    assert (summary.failed, summary.slices) == (1, sum(row["p0"] != "" for row in table))
    assert (tmp_path / "out" / "report.html").exists()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["run_id"] == summary.run_id
    assert reports[-1].done == reports[-1].files
    again = ld.classify_folder(bundle, scans, tmp_path / "out", options=CPU)
    assert (again.resumed, again.now) == (True, 0)
    assert capfd.readouterr() == ("", "")
