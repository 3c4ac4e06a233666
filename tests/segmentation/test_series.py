"""DICOM series as they come: incomplete, uneven, twice, excluded in parts, many frames in a file."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import generate_uid

from lits_deploy.bundle import Bundle
from lits_deploy.runtime.base import Batch, Outputs
from lits_deploy.segmentation import dicom_seg
from masked import errors_in, labels_in, make_unet, masks, segment, table
from scan_files import dicom_bytes, enhanced
from worlds import SIZE, Series, Thresholds, labels_of

hd = pytest.importorskip("highdicom")

SERIES = Series(name="ct")
ALL = ("png", "nifti", "dicom-seg")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_unet(tmp_path_factory.mktemp("unet"))


def volume_of(out: Path) -> tuple[Any, np.ndarray[Any, Any]]:
    (path,) = (out / "masks/nifti").glob("series-*.nii.gz")
    return labels_in(path)


def seg_of(out: Path) -> Any:
    (path,) = (out / "masks/dicom-seg").glob("*.dcm")
    return hd.seg.segread(path)


def file_of(number: int) -> str:
    return f"ct/IM{(number * 5 + 3) % 97:03d}"


def test_a_missing_file_leaves_an_empty_slice_that_is_listed(bundle: Bundle, tmp_path: Path) -> None:
    SERIES.write(tmp_path / "scans", without=(2,))
    summary = segment(bundle, tmp_path / "scans", tmp_path / "out", *ALL)
    _, labels = volume_of(tmp_path / "out")
    assert labels.shape[2] == 6
    assert not labels[..., 2].any()
    np.testing.assert_array_equal(labels[..., 3].T, SERIES.labels(3))
    rows = masks(tmp_path / "out", "nifti")
    (nobody,) = [row for row in table(tmp_path / "out", "masks") if not row["path"]]
    assert (nobody["index"], nobody["mask_index"], nobody["reason"]) == ("", "2", "no slice lies there")
    assert nobody["mask"] == rows[file_of(0), 0]["mask"]
    assert len(seg_of(tmp_path / "out").get_source_image_uids()) == 5
    assert summary.slices == dict.fromkeys(ALL, 5)


def test_an_excluded_and_a_failed_slice_are_empty_and_listed(bundle: Bundle, tmp_path: Path) -> None:
    folder = SERIES.write(tmp_path / "scans", without=(1, 3))
    empty = np.full((SIZE, SIZE), -1000, np.int16)
    blank = io.BytesIO(SERIES.file(1))
    (tmp_path / "scans" / file_of(1)).write_bytes(with_pixels(blank.getvalue(), empty))
    (tmp_path / "scans" / file_of(3)).write_bytes(SERIES.file(3)[:-1000])
    assert len(list(folder.iterdir())) == 6
    segment(bundle, tmp_path / "scans", tmp_path / "out", *ALL)
    for kind in ALL:
        rows = masks(tmp_path / "out", kind)
        assert rows[file_of(1), 0]["reason"] == "excluded: no body in the slice: nothing but air"
        assert rows[file_of(3), 0]["reason"].startswith("failed: ")
        assert rows[file_of(3), 0]["mask"] == ""
        assert bool(rows[file_of(1), 0]["mask"]) == (kind != "png")
    _, labels = volume_of(tmp_path / "out")
    assert not labels[..., 1].any()
    assert not labels[..., 3].any()
    seg = seg_of(tmp_path / "out")
    uids = [uid for _, _, uid in seg.get_source_image_uids()]
    assert SERIES.uid(1) in uids  # empty frames, so that viewers find every slice
    assert SERIES.uid(3) not in uids
    assert seg.NumberOfFrames == 2 * 5
    (row,) = table(tmp_path / "out", "volumes")
    assert (row["slices"], row["segmented"]) == ("6", "4")


def with_pixels(file: bytes, hu: np.ndarray[Any, Any]) -> bytes:
    """The same file with other pixels."""
    stored = (hu.astype(np.int32) + 1024).astype("<u2").tobytes()
    return file[: -len(stored)] + stored


def test_uneven_slices_have_no_volume_but_a_seg(bundle: Bundle, tmp_path: Path) -> None:
    SERIES.write(tmp_path / "scans", without=(5,))
    corner = SERIES.corner(5) + np.array((0, 0, 1.7))
    (tmp_path / "scans" / file_of(5)).write_bytes(SERIES.file(5, ImagePositionPatient=[f"{v:.4f}" for v in corner]))
    summary = segment(bundle, tmp_path / "scans", tmp_path / "out", *ALL)
    assert summary.masks == {"png": 6, "nifti": 0, "dicom-seg": 1}
    assert summary.without == {"nifti: the slices do not lie at even distances": 6}
    assert float(table(tmp_path / "out", "volumes")[0]["liver_ml"]) > 50


def test_slices_at_one_place_have_pictures_only(bundle: Bundle, tmp_path: Path) -> None:
    SERIES.write(tmp_path / "scans")
    other = SERIES.file(2, SOPInstanceUID=str(generate_uid(entropy_srcs=["other"])))
    stored = np.frombuffer(other[-2 * SIZE * SIZE :], "<u2").astype(np.int16)
    other = with_pixels(other, stored - 1024 + 30)  # the same pixels would be a copy
    (tmp_path / "scans" / "ct" / "other").write_bytes(other)
    summary = segment(bundle, tmp_path / "scans", tmp_path / "out", *ALL)
    assert summary.masks == {"png": 7, "nifti": 0, "dicom-seg": 0}
    assert summary.without == {f"{kind}: several slices at one position": 7 for kind in ("nifti", "dicom-seg")}
    assert table(tmp_path / "out", "volumes")[0]["reason"] == "several slices at one position"


def test_a_series_that_is_there_twice_counts_once(bundle: Bundle, tmp_path: Path) -> None:
    folder = SERIES.write(tmp_path / "scans")
    segment(bundle, tmp_path / "scans", tmp_path / "once", *ALL)
    with zipfile.ZipFile(tmp_path / "scans" / "again.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"ct/{path.name}")
    summary = segment(bundle, tmp_path / "scans", tmp_path / "twice", *ALL)
    assert summary.masks == {"png": 12, "nifti": 1, "dicom-seg": 1}
    assert set(summary.without) == {f"{kind}: a copy of another file of its series" for kind in ("nifti", "dicom-seg")}
    once, twice = (table(tmp_path / name, "volumes")[0] for name in ("once", "twice"))
    assert [once[name] for name in ("slices", "segmented", "liver_ml", "tumour_ml")] == [
        twice[name] for name in ("slices", "segmented", "liver_ml", "tumour_ml")
    ]
    np.testing.assert_array_equal(volume_of(tmp_path / "twice")[1], volume_of(tmp_path / "once")[1])


def test_a_file_of_many_frames_has_its_masks_frame_by_frame(bundle: Bundle, tmp_path: Path) -> None:
    levels = [SERIES.hu(number) for number in range(4)]
    names = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    dataset = enhanced(levels, **{name: str(generate_uid(entropy_srcs=["many", name])) for name in names})
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "many.dcm").write_bytes(dicom_bytes(dataset))
    summary = segment(bundle, tmp_path / "scans", tmp_path / "out", *ALL)
    assert summary.slices == dict.fromkeys(ALL, 4)
    _, labels = volume_of(tmp_path / "out")  # the file lists its frames from head to feet
    for number, hu in enumerate(levels):
        np.testing.assert_array_equal(labels[..., 3 - number].T, labels_of(hu))
    seg = seg_of(tmp_path / "out")
    found = seg.get_pixels_by_source_frame(dataset.SOPInstanceUID, [1, 2, 3, 4], combine_segments=True)
    for number, hu in enumerate(levels):
        np.testing.assert_array_equal(found[number], labels_of(hu))
    row = masks(tmp_path / "out", "dicom-seg")["many.dcm", 2]
    assert row["mask_index"] == "2"
    if shutil.which("dciodvfy"):
        assert errors_in(tmp_path / "out" / row["mask"]) == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"FrameOfReferenceUID": None}, "its header lacks FrameOfReferenceUID"),
        ({"SOPInstanceUID": None, "FrameOfReferenceUID": ""}, "its header lacks SOPInstanceUID, FrameOfReferenceUID"),
    ],
)
def test_a_header_that_no_seg_can_be_made_of_is_a_reason(
    bundle: Bundle, tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    Series(name="ct", values=values).write(tmp_path / "scans")
    summary = segment(bundle, tmp_path / "scans", tmp_path / "out", *ALL)
    assert summary.masks == {"png": 6, "nifti": 1, "dicom-seg": 0}
    assert summary.without == {f"dicom-seg: {reason}": 6}


def test_what_highdicom_refuses_is_a_reason_that_quotes_nothing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise ValueError("Doe^Jane")

    monkeypatch.setattr(dicom_seg, "seg_of", refuse)
    SERIES.write(tmp_path / "scans")
    summary = segment(bundle, tmp_path / "scans", tmp_path / "out", "dicom-seg")
    assert summary.without == {"dicom-seg: highdicom cannot make a SEG of it (ValueError)": 6}


@pytest.mark.parametrize(
    "values",
    [
        {"PatientSex": "unknown", "PatientBirthDate": "last year", "StudyTime": "noon"},
        {"PatientName": None, "PatientID": None, "PatientSex": None, "StudyDate": None, "AccessionNumber": None},
        {"PatientName": "Yamada^Tarou=山田^太郎", "SpecificCharacterSet": ["", "ISO 2022 IR 87"]},
        {"PatientName": "A^B", "SpecificCharacterSet": "", "StudyID": None},
        {"PatientName": "山田^太郎", "SpecificCharacterSet": "ISO_IR 192", "StudyID": "長" * 5},
        {"SliceThickness": None, "SpecificCharacterSet": None, "PatientName": "A^B"},
    ],
)
def test_odd_patients_have_their_seg_all_the_same(bundle: Bundle, tmp_path: Path, values: dict[str, Any]) -> None:
    Series(name="ct", values=values).write(tmp_path / "scans")
    summary = segment(bundle, tmp_path / "scans", tmp_path / "out", *ALL)
    assert not summary.without
    seg = seg_of(tmp_path / "out")
    assert seg.PatientSex in ("", None, "F")
    assert str(seg.PatientName) == (values.get("PatientName", "Müller^Änne") or "")


def test_a_file_that_changes_before_its_masks_are_written_gets_none(bundle: Bundle, tmp_path: Path) -> None:
    folder = SERIES.write(tmp_path / "scans")

    class Meddling(Thresholds):
        def _infer(self, batch: Batch) -> Outputs:
            (folder / "IM003").write_bytes(SERIES.file(0, PatientID="ID-2"))
            (folder / "IM008").unlink(missing_ok=True)
            return super()._infer(batch)

    network = Meddling(shape=(1, SIZE, SIZE))
    segment(bundle, tmp_path / "scans", tmp_path / "out", *ALL, network=network, batch_size=32)
    for kind in ("nifti", "dicom-seg"):
        rows = masks(tmp_path / "out", kind)
        assert rows["ct/IM003", 0]["reason"] == "the file has changed since it was segmented"
        assert rows["ct/IM008", 0]["reason"] == "the file cannot be read (no such file or directory)"
        assert rows["ct/IM013", 0]["reason"] == ""
    assert masks(tmp_path / "out", "png")["ct/IM003", 0]["mask"]
    shutil.rmtree(folder)
