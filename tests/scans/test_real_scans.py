"""Real CT of ../shared/data: every transfer syntax, LiTS volume 0 in three forms, every hostile file a row."""

from __future__ import annotations

import importlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans import READERS, Frame, Scan
from lits_deploy.scans.archive import close_last, read_member
from lits_deploy.scans.dicom import read as read_dicom
from lits_deploy.scans.discover import Discovery, ScanRecord
from lits_deploy.scans.nifti import read as read_nifti

CONTRACT = InputContract(window_hu=(-40.0, 160.0))


@pytest.fixture
def scans(shared_data: Path) -> Iterator[Path]:
    yield shared_data / "scans"
    close_last()


def read(discovery: Discovery, found: ScanRecord, contract: InputContract = CONTRACT) -> Scan:
    reader = importlib.import_module(READERS[found.kind])
    if found.member is None:
        data = Path(discovery.real_path(found.path)).read_bytes()
    else:
        data = read_member(os.fsencode(discovery.real_path(found.container or "")), found.member, reader.MAX_BYTES)
    scan: Scan = reader.read(data, contract)
    return scan


def answers(folder: Path) -> list[tuple[str, Frame | str]]:
    """A slice, or why its file failed, for everything below a folder."""
    discovery = Discovery([folder])
    answered: list[tuple[str, Frame | str]] = []
    for found in discovery:
        if found.reason:
            answered.append((found.path, found.reason))
            continue
        try:
            answered += [(found.path, frame) for frame in read(discovery, found).frames]
        except SliceError as error:
            answered.append((found.path, str(error)))
    return answered


def grey(frame: Frame) -> np.ndarray[Any, Any]:
    assert frame.pixels is not None, frame.excluded
    return frame.pixels[0].astype(float)


def test_every_transfer_syntax_gives_the_same_slice(scans: Path) -> None:
    folder = scans / "dicom_transfer_syntaxes"
    reference = grey(next(read_dicom(next(folder.glob("*ExplicitTrans*1.2.1.dcm")).read_bytes(), CONTRACT).frames))
    seen = 0
    for path in sorted(folder.glob("CTImage*")):
        pixels = grey(next(read_dicom(path.read_bytes(), CONTRACT).frames))
        seen += 1
        off = np.abs(pixels - reference)
        lossy = any(
            word in path.name for word in ("Lossy", "JPEG2000TransferSyntax", "Process10", "Process2", "Process6")
        )
        if "Process1Trans" in path.name:  # 8 bits over 8,000 HU: 32 HU a step
            assert off.mean() < 10
            assert np.corrcoef(pixels.ravel(), reference.ravel())[0, 1] > 0.97
        else:
            assert off.mean() <= (3 if lossy else 0), path.name
    assert seen == 15


def test_lits_volume_0_is_what_others_made_of_it(scans: Path) -> None:
    """In the same orientation, through the window of the green channel of `lits_jpg512_original`."""
    contract = InputContract(window_hu=(-40.0, 160.0), size=512, crop=None)
    with zipfile.ZipFile(scans / "dicom_lits_volume0/ScalarVolume_0.zip") as archive:
        for number in (24, 52, 62):
            scan = read_dicom(archive.read(f"ScalarVolume_0/IMG{number + 1:04d}.dcm"), contract)
            assert scan.series is not None
            assert scan.series.geometry.reorientation == "flip-rows"
            ours = grey(next(scan.frames))
            path = scans / f"lits_jpg512_original/train_images/volume-0_slice_{number}.jpg"
            theirs = np.asarray(Image.open(path))[..., 1].astype(float)
            assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999


def test_one_volume_as_nifti_and_as_dicom_is_the_same(scans: Path) -> None:
    data = (scans / "nifti_lits_volume0/volume-0_z40-74_step2.nii.gz").read_bytes()
    volume = list(read_nifti(data, CONTRACT).frames)
    assert len(volume) == 18
    with zipfile.ZipFile(scans / "dicom_lits_volume0/ScalarVolume_0.zip") as archive:
        for index in range(0, 18, 3):
            (frame,) = read_dicom(archive.read(f"ScalarVolume_0/IMG{41 + 2 * index:04d}.dcm"), CONTRACT).frames
            np.testing.assert_array_equal(grey(frame), grey(volume[index]))
            assert frame.header.position == pytest.approx(volume[index].header.position)


def test_every_hostile_file_is_a_row_that_is_not_classified(scans: Path) -> None:
    answered = answers(scans / "hostile")
    assert {path for path, _ in answered} == {
        path.relative_to(scans / "hostile").as_posix() for path in (scans / "hostile").rglob("*") if path.is_file()
    }
    for path, answer in answered:
        assert isinstance(answer, str) or (answer.pixels is None and answer.excluded), path


@pytest.mark.parametrize(
    ("folder", "passing"),
    [
        ("dicom_3dircadb01_nomask", 12),
        ("dicom_dcmqi_ct3slice/ct-3slice", 3),
        ("dicom_single", 0),
        ("jpg_chaos_liver", 13),
        ("nifti_flare_crop", 0),
        ("nifti_lits_volume0", 18),
        ("nifti_totalsegmentator", 0),
        ("png_ircad_liver/images", 22),
    ],
)
def test_how_much_of_each_folder_passes(scans: Path, folder: str, passing: int) -> None:
    answered = answers(scans / folder)
    assert sum(not isinstance(answer, str) and answer.pixels is not None for _, answer in answered) == passing


def test_ct_with_a_header_stands_with_the_liver_on_the_pictures_left(scans: Path) -> None:
    """Soft tissue of the liver is on the left of a slice through it, and the table and spine are below."""
    for folder in ("dicom_3dircadb01_nomask", "dicom_dcmqi_ct3slice/ct-3slice"):
        for path, answer in answers(scans / folder):
            assert isinstance(answer, Frame), path
            soft = (grey(answer) > 90) & (grey(answer) < 250)
            assert soft[:, :128].sum() > 1.2 * soft[:, 128:].sum(), path
            bone = grey(answer) == 255
            assert bone[128:].sum() > bone[:128].sum(), path
