"""A mask lies on its source, whichever way the source lies, in every format; told by place, not by array order."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from lits_deploy.bundle import Bundle
from masked import errors_in, make_unet, needs_dciodvfy, segment, table
from worlds import SERIES, Series, labels_at, lps_positions

hd = pytest.importorskip("highdicom")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_unet(tmp_path_factory.mktemp("unet"))


@pytest.fixture(scope="module")
def out(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All series, segmented in one run, in all formats."""
    folder = tmp_path_factory.mktemp("geometry")
    for series in SERIES:
        series.write(folder / "scans")
    summary = segment(bundle, folder / "scans", folder / "out", "png", "nifti", "dicom-seg")
    slices = sum(series.count for series in SERIES)
    assert (summary.run.slices, summary.run.failed, summary.run.excluded) == (slices, 0, 0)
    assert summary.masks == {"png": slices, "nifti": len(SERIES), "dicom-seg": len(SERIES)}
    assert summary.slices == dict.fromkeys(summary.masks, slices)
    assert not summary.without
    return folder / "out"


def masks_of(out: Path, series: Series, kind: str) -> dict[int, dict[str, str]]:
    """Slice's number → its row of masks.csv."""
    rows = [row for row in table(out, "masks") if row["format"] == kind and row["path"].startswith(f"{series.name}/")]
    names = {f"IM{(number * 5 + 3) % 97:03d}": number for number in range(series.count)}
    return {names[row["path"].split("/")[1]]: row for row in rows}


def test_the_world_tells_all_orientations_apart() -> None:
    seen = SERIES[0].labels(2)
    views = [np.rot90(side, k) for side in (seen, seen.T) for k in range(4)]
    assert len({view.tobytes() for view in views}) == 8
    assert set(np.unique(seen)) == {0, 1, 2}


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_pictures_lie_on_the_stored_pixels(out: Path, series: Series) -> None:
    found = masks_of(out, series, "png")
    assert len(found) == series.count
    for number, row in found.items():
        with Image.open(out / row["mask"]) as picture:
            assert picture.mode == "P"
            assert picture.info == {}
            np.testing.assert_array_equal(np.asarray(picture), series.labels(number))


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_volumes_lie_in_the_patient(out: Path, series: Series) -> None:
    found = masks_of(out, series, "nifti")
    (name,) = {row["mask"] for row in found.values()}
    image = nib.load(out / name)
    labels = np.asanyarray(image.dataobj)
    assert labels.dtype == np.uint8
    assert labels.shape == (series.columns, series.rows, series.count)
    wrong = float((labels != labels_at(lps_positions(image.affine, labels.shape))).mean())
    assert wrong < 2e-4  # rounding in the header moves an edge by a pixel here and there
    for number, row in found.items():
        np.testing.assert_array_equal(labels[..., int(row["mask_index"])].T, series.labels(number))
    assert image.header["qform_code"] == (0 if series.shift else 1)


@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_a_seg_lies_on_its_source_and_in_the_patient(out: Path, series: Series) -> None:
    found = masks_of(out, series, "dicom-seg")
    (name,) = {row["mask"] for row in found.values()}
    seg = hd.seg.segread(out / name)
    uids = [series.uid(number) for number in range(series.count)]
    by_source = seg.get_pixels_by_source_instance(uids, combine_segments=True)
    for number in range(series.count):
        np.testing.assert_array_equal(by_source[number], series.labels(number))
    assert seg.NumberOfFrames == 2 * series.count  # empty ones too
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(value) for value in measures.PixelSpacing] == pytest.approx([series.spacing] * 2)
    directions = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    across, down = np.array(directions[:3], float), np.array(directions[3:], float)
    j, i = np.mgrid[: series.rows, : series.columns][..., np.newaxis]
    for frame, pixels in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        label = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        positions = corner + series.spacing * (i * across + j * down)
        assert float((pixels.astype(bool) != (labels_at(positions) == label)).mean()) < 2e-4


def test_a_seg_says_what_it_is_and_whose_and_no_more(out: Path) -> None:
    name = masks_of(out, SERIES[0], "dicom-seg")[0]["mask"]
    seg = hd.seg.segread(out / name)
    assert str(seg.PatientName) == "Müller^Änne"
    assert (seg.PatientID, seg.PatientBirthDate, seg.PatientSex) == ("ID-1", "19510203", "F")
    assert (seg.AccessionNumber, seg.StudyID, seg.StudyDate) == ("ACC-1", "S1", "20200102")
    assert b"Secret" not in (out / name).read_bytes()
    liver, lesion = seg.SegmentSequence
    assert (liver.SegmentLabel, lesion.SegmentLabel) == ("Liver", "Lesion")
    code = liver.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("10200004", "SCT")
    code = lesion.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("52988006", "SCT")
    algorithm = liver.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "lits-deploy tiny"
    assert len(algorithm.AlgorithmVersion) == 64
    assert seg.SegmentsOverlap == "NO"
    assert seg.SOPInstanceUID.startswith("2.25.")


@needs_dciodvfy
@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)
def test_dciodvfy_finds_no_error(out: Path, series: Series) -> None:
    assert errors_in(out / masks_of(out, series, "dicom-seg")[0]["mask"]) == []
