"""Phantoms as NIfTI and DICOM: the same pixels as the slices, honest geometry, valid headers, whole or not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom import config
from typer.testing import CliRunner

from lits_deploy.cli.app import app
from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import OutputError, UserError
from train.phantom import Phantom, dicom, folder, make_phantom, nifti, write_phantoms

SEED, PATIENTS, SLICES = 5, 3, 3
WINDOW = (-40.0, 160.0)
VOLUMES: tuple[Literal["nifti", "dicom"], ...] = ("nifti", "dicom")

# What the CT Image IOD (PS3.3, A.3) wants of a native, single-frame, untilted CT: filled, and present if empty.
TYPE_1 = """SOPClassUID SOPInstanceUID StudyInstanceUID Modality SeriesInstanceUID PatientPosition FrameOfReferenceUID
    PixelSpacing ImageOrientationPatient ImagePositionPatient ImageType SamplesPerPixel PhotometricInterpretation Rows
    Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelData RescaleIntercept RescaleSlope RescaleType
    DeidentificationMethod"""
TYPE_2 = """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID
    AccessionNumber SeriesNumber PositionReferenceIndicator Manufacturer InstanceNumber SliceThickness KVP
    AcquisitionNumber ContentDate ContentTime"""


@cache
def small(seed: int, patient: int) -> Phantom:
    return make_phantom(seed, patient, slices=SLICES)


full = cache(make_phantom)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few slices a patient, made once."""
    monkeypatch.setattr(folder, "make_phantom", small)


def displayed(path: Path) -> npt.NDArray[Any]:
    """A NIfTI file as shown, [Z, row, column]: from feet to head, anterior up, patient's right on the left."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.asarray(image.dataobj).transpose(2, 1, 0)[:, ::-1, ::-1]


def read_series(folder: Path) -> list[pydicom.FileDataset]:
    """Slices sorted along the normal, from feet to head."""
    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    return sorted(slices, key=lambda s: float(np.cross(*np.reshape(s.ImageOrientationPatient, (2, 3))) @ position(s)))


def position(dataset: pydicom.Dataset) -> npt.NDArray[np.float64]:
    return np.array([float(v) for v in dataset.ImagePositionPatient])


def stored_hu(dataset: pydicom.Dataset) -> npt.NDArray[Any]:
    return np.asarray(pydicom.pixels.apply_rescale(dataset.pixel_array, dataset))


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_three_formats_hold_the_same_pixels_and_masks(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "slices", PATIENTS, SEED, window=WINDOW, workers=1)
    write_phantoms(tmp_path / "nifti", PATIENTS, SEED, "nifti", workers=1)
    write_phantoms(tmp_path / "dicom", PATIENTS, SEED, "dicom", workers=1)
    for patient in range(PATIENTS):
        volume = displayed(tmp_path / "nifti" / f"volume-{patient}.nii")
        labels = displayed(tmp_path / "nifti" / f"segmentation-{patient}.nii")
        datasets = read_series(tmp_path / "dicom" / f"volume-{patient}")
        assert volume.dtype == np.int16
        assert labels.dtype == np.uint8
        assert len(volume) == len(datasets) == SLICES
        assert np.array_equal(displayed(tmp_path / "dicom" / f"segmentation-{patient}.nii"), labels)
        for level in range(SLICES):
            name = f"*/images/volume-{patient:03d}_{level:04d}.png"
            (picture,) = (tmp_path / "slices").glob(name)
            (mask,) = (tmp_path / "slices").glob(name.replace("images", "masks"))
            hu = stored_hu(datasets[level])
            assert np.array_equal(hu, volume[level])
            assert np.array_equal(window_to_uint8(volume[level], WINDOW), np.asarray(Image.open(picture)))
            assert np.array_equal(labels[level], np.asarray(Image.open(mask)))
    assert any(small(SEED, patient).labels.max() for patient in range(PATIENTS))


def test_nifti_has_the_size_and_orientation_of_the_body(tmp_path: Path) -> None:
    summary = write_phantoms(tmp_path / "out", 1, SEED, "nifti", workers=1)
    image: Any = nibabel.load(tmp_path / "out" / "volume-0.nii")
    mask: Any = nibabel.load(tmp_path / "out" / "segmentation-0.nii")
    dz, dy, dx = small(SEED, 0).grid_mm
    assert image.header.get_zooms() == pytest.approx((dx, dy, dz), abs=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    assert image.get_qform() == pytest.approx(image.get_sform(), abs=1e-4)
    assert np.array_equal(image.affine, mask.affine)
    assert image.header.get_slope_inter() == (None, None) or image.header.get_slope_inter() == (1.0, 0.0)
    middle = image.affine @ [127.5, 127.5, 0, 1]
    assert middle[:3] == pytest.approx((0, 0, 0), abs=1e-3)
    assert summary["spacing_mm"]["0"] == [round(v, 4) for v in (dz, dy, dx)]


def test_dicom_and_nifti_lie_at_the_same_place(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 1, SEED, "dicom", workers=1)
    affine = nibabel.load(tmp_path / "segmentation-0.nii").affine
    for level, dataset in enumerate(read_series(tmp_path / "volume-0")):
        row, column = (float(v) for v in dataset.PixelSpacing)
        along, down = np.reshape([float(v) for v in dataset.ImageOrientationPatient], (2, 3))
        for i, j in ((0, 0), (255, 0), (10, 200)):  # column, row
            left_back_head = position(dataset) + i * column * along + j * row * down
            right_front_head = left_back_head * [-1, -1, 1]
            assert (affine @ [i, j, level, 1])[:3] == pytest.approx(right_front_head, abs=1e-3)


def test_headers_are_a_consistent_valid_ct_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_phantoms(tmp_path, 2, SEED, "dicom", workers=1)
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.RAISE)
    people = [read_series(tmp_path / f"volume-{patient}") for patient in (0, 1)]
    for number, datasets in enumerate(people):
        for dataset in datasets:
            for keyword in TYPE_1.split():
                assert dataset.get(keyword) not in (None, ""), keyword
            assert all(keyword in dataset for keyword in TYPE_2.split())
            list(dataset.iterall())  # decodes every value, and validates it
            assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == pydicom.uid.CTImageStorage
            assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
            assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
            assert dataset.PatientName == f"PHANTOM^{number:03d}"
            assert dataset.PatientIdentityRemoved == "YES"
            assert "NOT FOR CLINICAL USE" in dataset.StudyDescription
            assert (dataset.WindowCenter, dataset.WindowWidth) == (60, 200)
            assert dataset.SliceThickness <= dataset.SpacingBetweenSlices
        for shared in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "StudyDate"):
            assert len({dataset.get(shared) for dataset in datasets}) == 1
        heights = [position(dataset)[2] for dataset in datasets]
        assert np.diff(heights) == pytest.approx(float(datasets[0].SpacingBetweenSlices), abs=1e-3)
        assert [d.InstanceNumber for d in datasets] == list(
            range(SLICES, 0, -1)
        )  # against the position, as scanners do
    uids = [uid for ds in people for d in ds for uid in (d.SOPInstanceUID,)]
    uids += [d[0].get(key) for d in people for key in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")]
    assert len(set(uids)) == len(uids)
    for uid in uids:
        assert uid.startswith("2.25.")
        assert uid.is_valid
        assert int(uid[5:]) < 2**128


def test_contrast_agent_only_where_there_is_one() -> None:
    phases = {small(SEED, patient).person.phase: next(dicom.series(small(SEED, patient))) for patient in range(12)}
    assert "unenhanced" in phases
    for phase, dataset in phases.items():
        assert ("ContrastBolusAgent" in dataset) == (phase != "unenhanced")


def test_processes_do_not_change_the_bytes(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as whole:  # processes do not see the small phantoms
        whole.setattr(folder, "make_phantom", full)
        write_phantoms(tmp_path / "a", 2, SEED, "dicom", workers=2, progress=lambda *done: seen.append(done))
        write_phantoms(tmp_path / "b", 2, SEED, "dicom", workers=1)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("kind", VOLUMES)
def test_cut_off_run_leaves_whole_files_and_starts_again(
    kind: Literal["nifti", "dicom"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "out", []
    module = nifti if kind == "nifti" else dicom
    real: Callable[..., None] = module.write_bytes

    def failing(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(path, data)

    with monkeypatch.context() as broken:
        broken.setattr(module, "write_bytes", failing)
        with pytest.raises(OSError, match="No space"):
            write_phantoms(out, 2, SEED, kind, workers=1)
    assert not (out / "phantom.json").exists()
    other = next(name for name in VOLUMES if name != kind)
    with pytest.raises(OutputError, match=f"holds phantoms as {kind}"):
        write_phantoms(out, 2, SEED, other, workers=1)
    with pytest.raises(OutputError, match="not empty"):
        write_phantoms(out, 3, SEED, workers=1)
    write_phantoms(out, 2, SEED, kind, workers=1)
    write_phantoms(tmp_path / "fresh", 2, SEED, kind, workers=1)
    assert digest(out) == digest(tmp_path / "fresh")


@pytest.mark.parametrize("kind", VOLUMES)
def test_writing_again_leaves_nothing_stale_and_nothing_else_touched(
    kind: Literal["nifti", "dicom"], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_phantoms(out, 3, SEED, kind, workers=1)
    (out / "volume-mine.nii").write_text("mine")
    write_phantoms(out, 1, SEED + 1, kind, workers=1)
    write_phantoms(tmp_path / "fresh", 1, SEED + 1, kind, workers=1)
    (tmp_path / "fresh" / "volume-mine.nii").write_text("mine")
    assert digest(out) == digest(tmp_path / "fresh")
    assert not (out / "volume-2").exists()


def test_foreign_folders_and_impossible_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "volume-0.nii").write_bytes(b"a patient's")
    for kind in VOLUMES:
        with pytest.raises(OutputError, match="not empty"):
            write_phantoms(tmp_path, 1, SEED, kind)
        with pytest.raises(OutputError, match="is a file"):
            write_phantoms(tmp_path / "volume-0.nii", 1, SEED, kind)
        with pytest.raises(UserError, match="at least 1"):
            write_phantoms(tmp_path / "none", 0, SEED, kind)
        with pytest.raises(UserError, match="0 or more"):
            write_phantoms(tmp_path / "none", 1, -1, kind)
    assert [path.name for path in tmp_path.iterdir()] == ["volume-0.nii"]


@pytest.mark.parametrize("kind", VOLUMES)
def test_command_writes_volumes_and_says_what_next(kind: Literal["nifti", "dicom"], tmp_path: Path) -> None:
    out = tmp_path / "data"
    result = CliRunner().invoke(
        app, ["data", "phantom", str(out), "--layout", kind, "--patients", "1", "--workers", "1", "--seed", str(SEED)]
    )
    assert result.exit_code == 0, result.output
    assert json.loads((out / "phantom.json").read_text())["format"] == kind
    assert "2 liver with lesion" in result.output
    assert ("data prepare" in result.output) == (kind == "nifti")


def test_command_refuses_an_unknown_format_and_too_few_patients_for_a_split(tmp_path: Path) -> None:
    wrong = CliRunner().invoke(app, ["data", "phantom", str(tmp_path / "a"), "--layout", "tiff"])
    assert wrong.exit_code == 2
    few = CliRunner().invoke(app, ["data", "phantom", str(tmp_path / "a"), "--patients", "2"])
    assert isinstance(few.exception, UserError)
    assert "at least 3 patients" in str(few.exception)
