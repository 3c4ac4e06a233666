"""What goes wrong in LiTS and MSD volumes: orientation, headers, labels, broken files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from lits_deploy.contract import window_to_uint8
from lits_sources import (
    WINDOW,
    Patient,
    affine_of,
    as_stored,
    load_png,
    noise_patient,
    phantom_patient,
    save_nifti,
    write_lits,
    write_msd,
)
from train.prepare import PreparedData, PrepareSettings, prepare
from train.prepare.orientation import ORIENTATIONS, find_orientation, reference, reorient, shrink

SETTINGS = PrepareSettings(layout="lits", window_hu=WINDOW)
FIX = PrepareSettings(layout="lits", window_hu=WINDOW, fix_orientation=True)


def records(out: Path) -> dict[str, dict[str, Any]]:
    return {record["patient"]: record for record in json.loads((out / "provenance.json").read_text())["volumes"]}


def stack(out: Path, number: int, kind: str = "images") -> np.ndarray[Any, Any]:
    paths = sorted(out.glob(f"*/{kind}/volume-{number:03d}_*.png"), key=lambda path: path.name)
    return np.stack([load_png(path) for path in paths])


def shown(patient: Patient) -> np.ndarray[Any, Any]:
    return window_to_uint8(patient.hu, WINDOW)


def lain(patient: Patient, name: str) -> Patient:
    """The patient stored so that its slices lie in another way than its header says."""
    index = ORIENTATIONS.index(name)
    index = {1: 3, 3: 1}.get(index, index)  # the others undo themselves
    return Patient(patient.number, reorient(patient.hu, index), reorient(patient.labels, index), patient.spacing_mm)


def run(raw: Path, settings: PrepareSettings = SETTINGS) -> tuple[PreparedData, Path]:
    out = raw.with_name(f"{raw.name}-out")
    return prepare(raw, out, settings, workers=1), out


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "RPI", "SPR", "ASL"])
def test_any_header_gives_the_same_display(tmp_path: Path, axes: str) -> None:
    patient = noise_patient(3)
    _, out = run(write_lits(tmp_path / "raw", [patient], axes=axes, suffix=".nii.gz"))
    assert np.array_equal(stack(out, 3), shown(patient))
    assert np.array_equal(stack(out, 3, "masks"), patient.labels)
    record = records(out)["3"]
    assert record["orientation"]["basis"] == f"header {axes}"
    assert record["spacing_mm"] == [5.0, 0.8, 0.8]
    assert record["slices"]["index"] == ([3, 2, 1, 0] if "I" in axes else [0, 1, 2, 3])


@pytest.mark.parametrize("axes", ["LAS", "RPS", "RAS"])
def test_identity_affine_leaves_it_to_the_pixels(tmp_path: Path, axes: str) -> None:
    patient = phantom_patient(0)
    for name, values in (("volume", patient.hu), ("segmentation", patient.labels)):
        save_nifti(tmp_path / "raw" / f"{name}-28.nii", as_stored(values, axes), np.eye(4))
    done, out = run(tmp_path / "raw")
    assert np.array_equal(stack(out, 28), shown(patient))
    assert np.array_equal(stack(out, 28, "masks"), patient.labels)
    record = records(out)["28"]
    assert record["orientation"]["basis"] == "pixels"
    assert record["spacing_mm"] is None
    assert done.dataset["spacing_mm"] == {}
    assert any("the header claims no orientation" in note for note in done.notes)


def test_identity_affine_and_unclear_pixels_are_an_assumption_and_said(tmp_path: Path) -> None:
    patient = noise_patient(29)
    for name, values in (("volume", patient.hu), ("segmentation", patient.labels)):
        save_nifti(tmp_path / "raw" / f"{name}-29.nii", as_stored(values, "LAS"), np.eye(4))
    done, out = run(tmp_path / "raw")
    assert np.array_equal(stack(out, 29), shown(patient))
    assert records(out)["29"]["orientation"]["basis"] == "assumed LAS"
    assert any("only assumed of 1 volumes (29)" in warning for warning in done.warnings)


def test_disagreeing_affines_are_paired_voxel_by_voxel(tmp_path: Path) -> None:
    patient = noise_patient(5)
    save_nifti(tmp_path / "raw" / "volume-5.nii", as_stored(patient.hu, "RAS"), affine_of("RAS", (5, 0.8, 0.8)))
    wrong = affine_of("LPS", (2, 3, 3))
    save_nifti(tmp_path / "raw" / "segmentation-5.nii", as_stored(patient.labels, "RAS"), wrong)
    done, out = run(tmp_path / "raw")
    assert np.array_equal(stack(out, 5, "masks"), patient.labels)
    assert np.array_equal(stack(out, 5), shown(patient))
    assert any("affines of image and mask disagree" in note for note in done.notes)


@pytest.mark.parametrize("name", ORIENTATIONS[1:])
def test_a_volume_that_lies_otherwise_is_reported_and_reoriented_on_request(tmp_path: Path, name: str) -> None:
    patient = phantom_patient(1)
    raw = write_lits(tmp_path / "raw", [lain(patient, name)])
    done, out = run(raw)
    assert done.orientation == {name: ["1"]}
    assert done.reoriented == {}
    assert any("do not lie upright (1)" in warning for warning in done.warnings)
    assert not np.array_equal(stack(out, 1), shown(patient))
    fixed = prepare(raw, tmp_path / "fixed", FIX, workers=1)
    assert fixed.reoriented == {name: ["1"]}
    assert not any("upright" in warning for warning in fixed.warnings)
    assert np.array_equal(stack(tmp_path / "fixed", 1), shown(patient))
    assert np.array_equal(stack(tmp_path / "fixed", 1, "masks"), patient.labels)
    assert records(tmp_path / "fixed")["1"]["orientation"]["turned"] == name


def test_fix_orientation_leaves_upright_and_unclear_volumes_alone(tmp_path: Path) -> None:
    patients = [phantom_patient(1), noise_patient(2)]
    done = prepare(write_lits(tmp_path / "raw", patients), tmp_path / "out", FIX, workers=1)
    assert done.orientation == {"upright": ["1"], "unsure": ["2"]}
    for patient in patients:
        assert np.array_equal(stack(tmp_path / "out", patient.number), shown(patient))


def test_reoriented_spacing_is_of_the_reoriented_rows(tmp_path: Path) -> None:
    patient = phantom_patient(1)
    lying = lain(Patient(1, patient.hu, patient.labels, (4.0, 0.7, 0.9)), "transposed")
    prepare(write_lits(tmp_path / "raw", [lying]), tmp_path / "out", FIX, workers=1)
    assert records(tmp_path / "out")["1"]["spacing_mm"] == [4.0, 0.9, 0.7]


def test_orientation_of_real_slices(shared_data: Path) -> None:
    grey, labels = [], []
    for path in sorted((shared_data / "lits" / "validate" / "images").glob("volume-012_*.jpg")):
        mask = load_png(path.parents[1] / "masks" / f"{path.stem}.png")
        if (mask > 0).sum() > 3000:
            grey.append(shrink(load_png(path)))
            labels.append(shrink(mask, labels=True))
    images, masks = np.stack(grey), np.stack(labels)
    for index in (0, 2, 5, 7):
        assert find_orientation(reorient(images, index), reorient(masks, index), reference()).index == index


def test_lits_volume_zero_equals_its_png(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "scans" / "nifti_lits_volume0"
    (tmp_path / "raw").mkdir()
    for name in ("volume", "segmentation"):
        (tmp_path / "raw" / f"{name}-0.nii.gz").symlink_to(source / f"{name}-0_z40-74_step2.nii.gz")
    done, out = run(tmp_path / "raw")
    assert done.orientation == {"upright": ["0"]}
    for index, (image, mask) in enumerate(zip(stack(out, 0), stack(out, 0, "masks"), strict=True)):
        name = f"volume-000_{40 + 2 * index:04d}"
        kept = load_png(shared_data / "lits" / "train" / "images" / f"{name}.jpg").astype(float)
        assert np.abs(image - kept).mean() < 4  # JPEG
        assert np.array_equal(mask, load_png(shared_data / "lits" / "train" / "masks" / f"{name}.png"))


def test_a_bad_volume_is_a_reason_and_the_others_go_on(tmp_path: Path) -> None:
    good = noise_patient(0)
    raw = write_lits(tmp_path / "raw", [good], folder="")
    affine, hu, labels = affine_of("LAS", (5, 0.8, 0.8)), as_stored(good.hu, "LAS"), as_stored(good.labels, "LAS")

    def pair(number: int, image: Any, mask: Any) -> None:
        save_nifti(raw / f"volume-{number}.nii", image, affine)
        save_nifti(raw / f"segmentation-{number}.nii", mask, affine)

    pair(1, hu, labels[:, :, :3])
    pair(2, hu, labels + np.uint8(2))
    pair(3, np.stack([hu, hu], axis=-1), np.stack([labels, labels], axis=-1))
    pair(4, np.zeros_like(hu), labels)
    pair(5, hu[:200], labels[:200])
    pair(6, hu, labels)
    whole = (raw / "volume-6.nii").read_bytes()
    (raw / "volume-6.nii").unlink()
    (raw / "volume-6.nii.gz").write_bytes(gzip.compress(whole)[: len(whole) // 5])
    pair(7, hu, labels)
    (raw / "volume-7.nii").write_bytes(whole[:-100])
    pair(8, hu, labels)
    (raw / "segmentation-8.nii").write_text("version https://git-lfs.github.com/spec/v1\n")
    save_nifti(raw / "volume-9.nii", hu, affine)
    pair(10, hu, labels)
    (raw / "again").mkdir()
    (raw / "again" / "volume-10.nii").write_bytes(whole)
    pair(11, hu, np.where(labels == 2, 1.5, labels).astype(np.float32))
    done, out = run(raw)
    reasons = dict(done.failed)
    assert done.prepared == 1
    for patient, says in {
        "1": "256×256×4 and segmentation 256×256×3 differ in shape",
        "2": "holds the value 3",
        "3": "4 axes (256×256×4×2), not 3",
        "4": "every voxel is 0",
        "5": "200×256 pixels: not square",
        "6": "volume is truncated or damaged",
        "7": "volume is truncated or damaged",
        "8": "segmentation is no NIfTI file",
        "9": "no segmentation-9.nii",
        "10": "2 files are called",
        "11": "value 1.5",
    }.items():
        assert says in reasons.pop(patient), patient
    assert reasons == {}
    assert len(list(out.glob("*/*/*.png"))) == 8  # of the good one alone
    assert records(out)["2"]["status"] == "failed"
    assert done.dataset["failed"] == list(range(1, 12))


def test_a_label_far_down_removes_the_slices_written_before(tmp_path: Path) -> None:
    raw = write_lits(tmp_path / "raw", [noise_patient(0), noise_patient(1)])
    _, out = run(raw)
    assert len(list(out.glob("*/images/volume-001_*.png"))) == 4
    broken = noise_patient(1)
    broken.labels[3, 0, 0] = 9
    write_lits(raw, [broken])
    done = prepare(raw, out, SETTINGS, workers=1, resume=True)
    assert dict(done.failed).keys() == {"1"}
    assert not list(out.glob("*/*/volume-001_*.png"))
    assert done.dataset["patients"] != {}


def test_odd_but_usable_volumes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    patient = noise_patient(1)
    affine = affine_of("LAS", (5, 0.8, 0.8))
    hu, labels = as_stored(patient.hu, "LAS"), as_stored(patient.labels, "LAS")
    holes = hu.astype(np.float32)
    holes[0, 0, 0], holes[1, 0, 0], holes[2, 0, 0] = np.nan, np.inf, -np.inf
    scaled = nibabel.Nifti1Image(hu / np.float32(3), affine)
    scaled.set_data_dtype(np.int16)  # stored with a slope
    (raw / "sub").mkdir(parents=True)
    scaled.to_filename(raw / "sub" / "volume-3.nii")
    grey8 = ((hu.astype(np.int32) + 900) // 6).astype(np.uint8)
    for number, image in {1: hu[..., None], 2: holes, 4: grey8, 5: np.maximum(hu, -150)}.items():
        save_nifti(raw / f"volume-{number}.nii", image, affine)
    for number in range(1, 6):
        values = labels.astype(np.float64)[..., None] if number == 1 else labels
        save_nifti(raw / f"segmentation-{number}.nii", values, affine)
    (raw / "test-volume-0.nii").write_bytes(b"never opened")
    (raw / "._volume-1.nii").write_bytes(b"macOS")
    save_nifti(raw / "segmentation-77.nii", labels, affine)
    done, out = run(raw)
    assert done.failed == ()
    assert np.array_equal(stack(out, 1), shown(patient))
    notes = "\n".join(done.notes)
    assert "volume 2: 3 voxels are NaN or infinite" in notes
    assert "volume 4: intensities 0…216: not HU but 8 bit?" in notes
    assert "volume 5: nothing is darker than -150 HU" in notes
    assert "1 test-volume files" in notes
    assert "segmentations without a volume: 77" in notes
    assert nibabel.load(raw / "sub" / "volume-3.nii").dataobj.slope != 1
    off = stack(out, 3).astype(int) - window_to_uint8(patient.hu / np.float32(3), WINDOW)
    assert np.abs(off).max() <= 1  # the file's own rounding


def test_msd_skips_macos_files_and_the_test_set(tmp_path: Path) -> None:
    patients = [noise_patient(number) for number in (0, 7)]
    raw = write_msd(tmp_path / "raw", patients)
    settings = PrepareSettings(layout="msd", window_hu=WINDOW)
    done = prepare(raw, tmp_path / "out", settings, workers=1)
    assert (done.prepared, done.failed) == (2, ())
    assert any("imagesTs: 1 volumes without labels" in note for note in done.notes)
    for patient in patients:
        assert np.array_equal(stack(tmp_path / "out", patient.number, "masks"), patient.labels)
    inside = prepare(raw / "Task03_Liver", tmp_path / "inside", settings, workers=1)
    assert inside.dataset["patients"] == done.dataset["patients"]
    (raw / "Task03_Liver" / "labelsTr" / "liver_7.nii.gz").unlink()
    again = prepare(raw, tmp_path / "less", settings, workers=1)
    assert again.failed == (("7", "there is no labelsTr/liver_7.nii.gz"),)
