"""DICOM: the right slice the right way up in HU, everything else excluded or failed for a reason that names no one."""

from __future__ import annotations

import dataclasses
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from lits_deploy.contract import InputContract
from lits_deploy.decode.job import DecodeJob
from lits_deploy.errors import SliceError
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pseudonyms import Pseudonyms
from lits_deploy.scans import Frame, Reading, Scan
from lits_deploy.scans.dicom import read
from lits_deploy.scans.dicom.region import REGIONS
from lits_deploy.scans.orient import REORIENTATIONS
from lits_deploy.series import Geometry, SliceHeader
from scan_files import CONTRACT, SIDE, body, ct, ct_dataset, dicom_bytes, enhanced, reoriented_ct, stands

NAMING = Naming(names=Pseudonyms(salt=b"salt"))
JOB = DecodeJob(1, "x", "reader", "folder/x", "dicom")


def one(data: bytes, contract: InputContract = CONTRACT) -> Frame:
    (frame,) = read(data, contract).frames
    return frame


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def excluded(data: bytes, contract: InputContract = CONTRACT) -> str:
    frame = one(data, contract)
    assert frame.pixels is None
    assert frame.excluded
    headers = list(read(data, contract, headers_only=True).frames)
    assert all(f.pixels is None for f in headers)
    return frame.excluded


def failure(data: bytes, contract: InputContract = CONTRACT) -> SliceError:
    with pytest.raises(SliceError) as caught:
        list(read(data, contract).frames)
    return caught.value


def test_a_slice_is_windowed_and_shrunk_and_its_header_read() -> None:
    scan = read(ct(), CONTRACT)
    assert scan.window == "[-160, 240] HU"
    series = scan.series
    assert series is not None
    assert (series.kind, series.modality, series.orientation) == ("dicom", "CT", "axial")
    assert (series.study, series.series, series.patient) == ("2.25.1", "2.25.2", "ID-1")
    assert series.geometry == Geometry(
        rows=SIDE, columns=SIDE, spacing_mm=(2.5, 2.5), directions=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    )
    assert series.identifiers["patient_name"] == "Doe^Jane"
    assert series.identifiers["series_uid"] == "2.25.2"
    (frame,) = scan.frames
    assert (frame.index, frame.excluded, frame.header.position) == (0, None, 30.0)
    assert frame.pixels is not None
    assert frame.pixels.shape == (1, 64, 64)
    assert stands(frame.pixels, body())


@pytest.mark.parametrize("name", REORIENTATIONS)
def test_however_it_lies_it_ends_upright(name: str) -> None:
    scan = read(reoriented_ct(name), CONTRACT)
    assert scan.series is not None
    assert (scan.series.geometry.reorientation, scan.series.orientation) == (name, "axial")
    (frame,) = scan.frames
    assert stands(frame.pixels, body())
    assert frame.header.position == 30.0


def test_a_tilted_gantry_is_read_and_positions_run_along_the_normal() -> None:
    six = [1, 0, 0, 0, 0.9781, -0.2079]  # 12°
    scan = read(ct(ImageOrientationPatient=six, ImagePositionPatient=[0, 0, 100]), CONTRACT)
    assert scan.series is not None
    assert scan.series.orientation == "axial, tilted 12°"
    (frame,) = scan.frames
    assert frame.pixels is not None
    assert frame.header.position == pytest.approx(97.81, abs=0.02)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"Modality": "MR"}, "modality MR: not a CT image", id="MR"),
        pytest.param({"Modality": None}, "not known to be CT", id="no modality"),
        pytest.param({"Modality": "JANE_DOE"}, "not known to be CT", id="made-up modality"),
        pytest.param({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "a secondary capture", id="secondary capture"),
        pytest.param({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, "a secondary capture", id="multi-frame capture"),
        pytest.param({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "another object of modality CT", id="SEG as CT"),
        pytest.param({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1", id="inverted"),
        pytest.param({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour: a screenshot", id="RGB"),
        pytest.param({"BurnedInAnnotation": "YES"}, "annotations are burnt", id="burnt in"),
        pytest.param({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer", id="localizer"),
        pytest.param({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "a derived image", id="MPR"),
        pytest.param({"ImageType": ["DERIVED", "PRIMARY", "MIP"]}, "a derived image", id="MIP"),
        pytest.param({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a screenshot", id="screen"),
        pytest.param({"ImageOrientationPatient": None}, "does not say how the slices lie", id="no orientation"),
        pytest.param({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "does not say how", id="senseless orientation"),
        pytest.param({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "not an axial slice (coronal)", id="coronal"),
        pytest.param({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "not an axial slice (sagittal)", id="sagittal"),
        pytest.param(
            {"ImageOrientationPatient": [0.7071, 0.7071, 0, -0.7071, 0.7071, 0]}, "turned in its plane", id="askew"
        ),
        pytest.param({"PixelSpacing": None}, "how large a pixel is", id="no spacing"),
        pytest.param({"PixelSpacing": [2.5, 2.0]}, "pixels of 2.5×2 mm are not square", id="squeezed"),
        pytest.param({"PixelSpacing": [0.5, 0.5]}, "a field of view of 64 mm", id="small field"),
        pytest.param({"PixelSpacing": [2.6, 2.6]}, "pixels of 2.6 mm are larger than 2.5 mm", id="coarse"),
        pytest.param({"SliceThickness": 20}, "slices of 20 mm are thicker", id="slab"),
        pytest.param({"RescaleSlope": None}, "how its values become HU", id="no slope"),
        pytest.param({"RescaleSlope": 0}, "how its values become HU", id="slope 0"),
        pytest.param({"RescaleType": "Z_EFF"}, "its values are not HU", id="another unit"),
    ],
)
def test_what_the_header_tells_to_be_no_axial_ct_slice_is_excluded(changes: dict[str, Any], reason: str) -> None:
    changes = dict(changes)
    if "RescaleSlope" in changes:
        dataset = ct_dataset()
        del dataset.RescaleSlope
        if changes["RescaleSlope"] is not None:
            dataset.RescaleSlope = changes["RescaleSlope"]
        data = dicom_bytes(dataset)
    else:
        data = ct(**changes)
    assert reason in excluded(data)
    headers = read(data, CONTRACT, headers_only=True)
    assert [frame.excluded for frame in headers.frames] == [excluded(data)]


@pytest.mark.parametrize(
    ("hu", "reason"),
    [
        pytest.param(np.full((SIDE, SIDE), -1000, np.int16), "nothing but air", id="air"),
        pytest.param(np.full((SIDE, SIDE), 40, np.int16), "and no air", id="all body"),
        pytest.param((body() > 0) * np.int16(2), "a mask or label map", id="a mask"),
        pytest.param((body() > 0) * np.int16(1025) - 1024, "only a few different values", id="a mask with air"),
        pytest.param(np.where(body() > 0, 2000 + body(), -1000), "too little soft tissue", id="no tissue"),
    ],
)
def test_what_the_pixels_tell_to_be_no_body_in_hu_is_excluded(hu: np.ndarray[Any, Any], reason: str) -> None:
    data = ct(hu)
    assert reason in excluded(data)
    assert [frame.excluded for frame in read(data, CONTRACT, headers_only=True).frames] == [None]


def test_derived_by_lossy_compression_is_still_a_slice() -> None:
    assert one(ct(ImageType=["DERIVED", "PRIMARY", "AXIAL"])).excluded is None
    assert one(ct(ImageType=None)).excluded is None


def test_a_structured_report_needs_no_pixels_to_be_recognised() -> None:
    report = ct_dataset(Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    for keyword in ("Rows", "Columns", "PixelData", "BitsAllocated", "PixelSpacing", "ImageOrientationPatient"):
        delattr(report, keyword)
    scan = read(dicom_bytes(report), CONTRACT)
    assert scan.series is not None
    assert (scan.series.modality, scan.series.geometry.rows, scan.series.orientation) == ("SR", 0, "unknown")
    assert [frame.excluded for frame in scan.frames] == ["modality SR: not an image"]


def test_too_small_and_never_resized_are_excluded() -> None:
    assert "too small" in excluded(ct(), InputContract(window_hu=(-160.0, 240.0), size=512, crop=None))
    never = InputContract(window_hu=(-160.0, 240.0), size=64, crop=56, resize="never")
    assert excluded(ct(), never) == "128×128 pixels: the network takes 64×64 and no other"
    same = InputContract(window_hu=(-160.0, 240.0), size=128, crop=None, resize="never")
    assert stands(one(ct(), same).pixels, body())


def test_a_matrix_that_is_not_square_is_padded_with_air() -> None:
    hu = body()[14:-14]
    frame = one(ct(np.ascontiguousarray(hu)))
    padded = np.full((SIDE, SIDE), -1024, np.int16)
    padded[14:-14] = hu
    assert stands(frame.pixels, padded)


@pytest.mark.parametrize(
    "changes",
    [
        {"slope": 2.0, "intercept": -1000},
        {"RescaleType": "US"},  # unspecified, as GDCM writes
        {"RescaleType": None},
        {"slope": 0.5, "intercept": -1024},
        {"intercept": 0, "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15},
        {"intercept": 24, "PixelRepresentation": 1, "BitsStored": 12, "HighBit": 11},
        {"intercept": -2000.5, "BitsStored": 16, "HighBit": 15},
    ],
)
def test_hu_do_not_depend_on_how_they_are_stored(changes: dict[str, Any]) -> None:
    assert stands(one(ct(**changes)).pixels, body())


def test_padding_is_air_wherever_its_value_lies() -> None:
    hu = body()
    around = np.add.outer(*[(np.arange(SIDE) - 63.5) ** 2] * 2) > 63**2
    stored = (hu.astype(int) + 1024).astype("<u2")
    stored[around] = 63536  # −2000 read as unsigned, and beyond the stored bits
    data = ct(PixelPaddingValue=63536, PixelData=stored.tobytes())
    hu[around] = -1024
    assert stands(one(data).pixels, hu)
    stored[around] = 3000
    stored[around & (np.arange(SIDE) % 2 == 0)] = 3500
    data = ct(PixelPaddingValue=3000, PixelPaddingRangeLimit=3500, PixelData=stored.tobytes())
    assert stands(one(data).pixels, hu)


@pytest.mark.parametrize("padded", [False, True])
def test_bits_that_the_header_calls_unused_are_cut_off(padded: bool) -> None:
    """PS3.5, 8.1.1: an overlay of old in bit 12, or a sign that was not extended, is no part of the pixel."""
    hu = body()
    overlay = np.zeros(hu.shape, "<u2")
    overlay[20:30, 40:60] = 1 << 12
    padding = {"PixelPaddingValue": 63536} if padded else {}
    stored = (hu.astype(int) + 1024).astype("<u2") | overlay
    assert stands(one(ct(PixelData=stored.tobytes(), **padding)).pixels, hu)
    signed = (hu.astype(int) & 0x0FFF).astype("<u2").tobytes()
    assert stands(one(ct(PixelRepresentation=1, RescaleIntercept=0, PixelData=signed)).pixels, hu)


@pytest.mark.parametrize(
    ("said", "region"),
    [
        ({"BodyPartExamined": "HEAD"}, "head"),
        ({"BodyPartExamined": "CSPINE"}, "neck"),
        ({"SpecificCharacterSet": "ISO_IR 100", "SeriesDescription": "Schädel nativ 5.0"}, "head"),
        ({"SpecificCharacterSet": "ISO_IR 192", "SeriesDescription": "Crâne sans injection"}, "head"),
        ({"StudyDescription": "CT C-Spine"}, "neck"),
        ({"ProtocolName": "Knee right"}, "knee"),
        ({"ProcedureCodeSequence": [coded("774007", "SCT", "X")]}, "neck"),
        ({"AnatomicRegionSequence": [coded("T-D9700", "SRT", "X")]}, "foot"),
        ({"ProcedureCodeSequence": [coded("XYZ", "LOCAL", "CT Hand links")]}, "hand"),
    ],
)
def test_a_header_that_names_another_region_excludes_its_slices(said: dict[str, Any], region: str) -> None:
    data = ct(**said)
    assert excluded(data) == f"another part of the body: {region} (--any-body-part takes it)"
    assert [frame.excluded for frame in read(data, CONTRACT, reading=Reading(any_body_part=True)).frames] == [None]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"BodyPartExamined": "CHEST"},
        {"BodyPartExamined": "HEAD", "StudyDescription": "Polytrauma CT: head to pelvis"},
        {"BodyPartExamined": "NECKCHESTABDOMEN"},
        {"BodyPartExamined": "HEAD", "ProcedureCodeSequence": [coded("416775004", "SCT", "X")]},
        {"SeriesDescription": "Kopf/Hals/Thorax/Abdomen"},
        {"SeriesDescription": "Head First Supine, arms up"},
        {"SeriesDescription": "PET skull base to mid-thigh"},
        {"StudyDescription": "Headache; surface reconstruction"},
        {"ProcedureCodeSequence": [coded("69536005", "LOCAL", "X")]},
        {"BodyPartExamined": "SPINE"},
    ],
)
def test_a_header_that_names_the_trunk_or_nothing_excludes_nothing(said: dict[str, Any]) -> None:
    assert [frame.excluded for frame in read(ct(**said), CONTRACT).frames] == [None]


def test_only_a_word_of_the_list_leaves_the_header() -> None:
    reason = excluded(ct(StudyDescription="Kopf von Erika Mustermann"))
    assert "Erika" not in reason
    assert any(f": {region} (" in reason for region in REGIONS)


SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big endian": "1.2.840.10008.1.2.2",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


@pytest.mark.parametrize("name", SYNTAXES)
def test_lossless_transfer_syntaxes_give_the_same_slice(name: str) -> None:
    frame = one(dicom_bytes(ct_dataset(), SYNTAXES[name]))
    np.testing.assert_array_equal(frame.pixels, one(ct()).pixels)


@pytest.mark.parametrize("name", ["JPEG-LS", "JPEG 2000", "RLE"])
def test_signed_values_survive_compression(name: str) -> None:
    dataset = ct_dataset(intercept=0, PixelRepresentation=1, BitsStored=16, HighBit=15)
    np.testing.assert_array_equal(one(dicom_bytes(dataset, SYNTAXES[name])).pixels, one(ct()).pixels)


@pytest.mark.parametrize("name", ["implicit", "explicit", "big endian"])
def test_no_preamble_and_no_meta_information_are_no_obstacle(name: str) -> None:
    data = dicom_bytes(ct_dataset(), SYNTAXES[name])
    length = int.from_bytes(data[140:144], "little")  # of the meta information, told by its first element
    bare = data[144 + length :]
    np.testing.assert_array_equal(one(bare).pixels, one(ct()).pixels)


def test_enhanced_ct_has_a_place_and_a_slope_for_every_frame() -> None:
    levels = [body(level) for level in range(3)]
    scan = read(dicom_bytes(enhanced(levels)), CONTRACT)
    assert scan.series is not None
    assert (scan.series.orientation, scan.series.geometry.spacing_mm) == ("axial", (2.5, 2.5))
    frames = list(scan.frames)
    assert [(frame.index, frame.header.position) for frame in frames] == [(0, 100.0), (1, 95.0), (2, 90.0)]
    slack = [stands(frame.pixels, hu) for frame, hu in zip(frames, levels, strict=True)]
    assert slack == [True, True, True]
    compressed = list(read(dicom_bytes(enhanced(levels), SYNTAXES["RLE"]), CONTRACT).frames)
    np.testing.assert_array_equal(compressed[2].pixels, frames[2].pixels)


def test_a_frame_that_lies_otherwise_and_one_of_another_type_are_excluded_alone() -> None:
    dataset = enhanced([body(level) for level in range(3)])
    groups = dataset.PerFrameFunctionalGroupsSequence
    coronal = Dataset()
    coronal.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    groups[1].PlaneOrientationSequence = [coronal]
    groups[2].CTImageFrameTypeSequence[0].FrameType = ["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]
    frames = list(read(dicom_bytes(dataset), CONTRACT).frames)
    assert frames[0].pixels is not None
    assert frames[1].excluded == "not an axial slice (coronal)"
    assert "a derived image" in (frames[2].excluded or "")
    flipped = Dataset()
    flipped.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
    groups[1].PlaneOrientationSequence = [flipped]
    frames = list(read(dicom_bytes(dataset), CONTRACT).frames)
    assert frames[1].excluded == "its orientation is not that of the first frame of its file"


def test_several_frames_without_functional_groups_have_no_place() -> None:
    data = ct(np.concatenate([body(0), body(1)]), Rows=SIDE, NumberOfFrames=2)
    assert {frame.excluded for frame in read(data, CONTRACT).frames} == {
        "one of several frames without a position of its own"
    }


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"Doe, Jane\n" * 100, "not a DICOM file", id="text"),
        pytest.param(bytes(128) + b"DICM", "truncated", id="only a preamble"),
        pytest.param(ct()[:-100], "the pixel data are truncated", id="cut pixels"),
        pytest.param(ct()[:400], "", id="cut header"),
        pytest.param(ct(PixelData=None), "without pixel data", id="no pixels"),
        pytest.param(ct(Rows=60000, Columns=60000), "more than any slice has", id="huge"),
        pytest.param(ct(Rows=0), "no pixels a slice", id="no rows"),
        pytest.param(ct(NumberOfFrames=2_000_000_000), "the number of frames", id="two billion frames"),
        pytest.param(ct(NumberOfFrames=15000), "the pixel data are truncated", id="too many frames"),
        pytest.param(ct(BitsAllocated=24), "a layout of bits", id="24 bits"),
        pytest.param(ct(BitsStored=14), "a layout of bits", id="high bit elsewhere"),
    ],
)
def test_what_is_broken_fails_with_a_reason(data: bytes, reason: str) -> None:
    if data == ct()[:400]:
        try:
            assert [f.pixels for f in read(data, CONTRACT).frames] == [None]
        except SliceError:
            return
    else:
        assert reason in str(failure(data))


def test_a_failure_after_the_header_knows_its_series() -> None:
    error = failure(ct()[:-100])
    assert error.series is not None
    assert error.series.study == "2.25.1"
    assert failure(ct(PixelData=None)).series is not None


def test_without_a_window_hu_cannot_be_read_and_headers_can() -> None:
    contract = InputContract(window_hu=None, size=64, crop=56)
    error = failure(ct(), contract)
    assert "--window LOW HIGH" in str(error)
    assert error.series is not None
    assert [frame.excluded for frame in read(ct(), contract, headers_only=True).frames] == [None]
    assert excluded(ct(Modality="MR"), contract) == "modality MR: not a CT image"


@pytest.mark.parametrize("name", ["RLE", "JPEG-LS", "JPEG 2000"])
def test_damaged_compression_fails_and_a_size_of_its_own_is_not_believed(name: str) -> None:
    good = dicom_bytes(ct_dataset(), SYNTAXES[name])
    at = good.rindex(b"\xfe\xff\x00\xe0") + 8  # the last item: the frame
    bad = good[:at] + bytes(200) + good[at + 200 :]
    assert "compressed" in str(failure(bad))
    assert "pixel data" in str(failure(good[: at + 500])) or "compressed" in str(failure(good[: at + 500]))
    dataset = ct_dataset()
    dataset.compress(SYNTAXES[name], generate_instance_uid=False)
    dataset.Rows = dataset.Columns = 100
    dataset.PixelSpacing = [2.5, 2.5]
    assert "compressed" in str(failure(dicom_bytes(dataset)))


def test_a_compression_that_is_not_read_is_named() -> None:
    dataset = ct_dataset()
    dataset.compress(SYNTAXES["RLE"], generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    assert str(failure(dicom_bytes(dataset))).startswith("its compression is not read (MPEG2 Main Profile")
    data = dicom_bytes(dataset).replace(b"1.2.840.10008.1.2.4.100\0", b"1.2.840.99999.1.2.4.100\0")
    assert str(failure(data)) == "its compression is not read (a transfer syntax that the standard does not know)"


def deflated(dataset: Dataset) -> bytes:
    return dicom_bytes(dataset, SYNTAXES["deflated"])


def test_a_deflate_bomb_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    from lits_deploy.scans.dicom import header

    bomb = deflated(ct_dataset(PixelData=bytes(64 << 20)))
    assert len(bomb) < 200_000
    monkeypatch.setattr(header, "MOST_INFLATED", 1 << 20)
    assert "a deflate bomb?" in str(failure(bomb))
    tracemalloc.start()
    try:
        assert "a deflate bomb?" in str(failure(bomb))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    good = deflated(ct_dataset())
    assert "damaged" in str(failure(good[:400] + b"\xff" * 50 + good[450:]))


def test_headers_are_bounded_in_bytes_elements_and_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    from lits_deploy.scans.dicom import header

    dataset = ct_dataset()
    dataset.add_new(0x00091001, "OB", bytes(200_000))
    data = dicom_bytes(dataset)
    assert one(data).pixels is not None
    monkeypatch.setattr(header, "MOST_HEADER", 100_000)
    assert "a DICOM header of more than" in str(failure(data))
    monkeypatch.undo()
    monkeypatch.setattr(header, "MOST_ELEMENTS", 10)
    assert "elements in the DICOM header" in str(failure(ct()))
    monkeypatch.undo()
    nested = b"\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = b"\x08\x00\x40\x11SQ\0\0" + nested
    assert "nested too deeply" in str(failure(bytes(128) + b"DICM" + _meta() + sequence * 20_000))


def _meta() -> bytes:
    syntax = b"1.2.840.10008.1.2.1\0"
    return b"\x02\0\x10\0UI" + len(syntax).to_bytes(2, "little") + syntax


def test_an_empty_element_of_an_unknown_representation_is_empty() -> None:
    at = ct().index(b"\x10\x00\x20\x00LO")
    length = int.from_bytes(ct()[at + 6 : at + 8], "little")
    data = ct()[:at] + b"\x10\x00\x20\x00QQ\0\0" + ct()[at + 8 + length :]
    series = read(data, CONTRACT).series
    assert series is not None
    assert "patient_id" not in series.identifiers
    assert one(data).pixels is not None


def test_a_dicomdir_is_an_index() -> None:
    index = ct_dataset(Modality=None, SOPClassUID="1.2.840.10008.1.3.10", PixelData=None)
    assert excluded(dicom_bytes(index)) == "a DICOM directory: an index, not an image"


def planted() -> Dataset:
    """A slice with a name in every element that takes text, the ones that are looked at included."""
    dataset = ct_dataset(BodyPartExamined="PLANTED", ProtocolName="PLANTED", StudyDescription="PLANTED")
    for keyword in (
        "PatientID",
        "PatientName",
        "AccessionNumber",
        "InstitutionName",
        "StationName",
        "StudyID",
        "ReferringPhysicianName",
        "PatientComments",
        "ImageComments",
        "SeriesDescription",
    ):
        setattr(dataset, keyword, "PLANTED")
    return dataset


@pytest.mark.parametrize(
    "keyword",
    [
        "Modality",
        "SOPClassUID",
        "ImageType",
        "PhotometricInterpretation",
        "RescaleType",
        "BurnedInAnnotation",
        "SpecificCharacterSet",
        "PixelSpacing",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "RescaleSlope",
        "SliceThickness",
        "NumberOfFrames",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "PatientBirthDate",
        "StudyDate",
    ],
)
def test_nothing_that_a_header_says_gets_out(
    keyword: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    data = dicom_bytes(planted()).replace(b"PLANTED", b"PLANTED")
    data = _overwritten(data, keyword)
    said = ""
    try:
        scan: Scan = read(data, CONTRACT)
        for frame in scan.frames:
            said += repr(dataclasses.replace(frame, pixels=None, header=SliceHeader())) + NAMING.facts(
                JOB, frame.header
            )
        assert scan.series is not None
        said += scan.window + repr(NAMING.header(JOB, scan.series))
    except SliceError as error:
        said += str(error)
    captured = capfd.readouterr()
    assert "PLANTED" not in (said + caplog.text + captured.out + captured.err).upper()


def _overwritten(data: bytes, keyword: str) -> bytes:
    """The file with the value of an element replaced by a name, whatever its VR allows."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(keyword)
    assert tag is not None
    head = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + dictionary_VR(tag).encode()
    element = head + b"\x10\0PLANTED\\PLANTED2"
    at = data.find(head)
    if at < 0:
        return data
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    return data[:at] + element + data[at + 8 + length :]


def test_identifiers_are_one_printable_line_in_any_character_set() -> None:
    series = read(ct(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen"), CONTRACT).series
    assert series is not None
    assert series.identifiers["patient_name"] == "Müller^Jürgen"
    dataset = ct_dataset(PatientID="A\r\nB\x1b[31m", SpecificCharacterSet="NO_SUCH_SET", PatientName="M\u00fcller")
    series = read(dicom_bytes(dataset), CONTRACT).series
    assert series is not None
    assert all(value.isprintable() and value.encode() for value in series.identifiers.values())


def test_mutated_files_give_rows_and_nothing_else() -> None:
    sources = [
        ct(),
        dicom_bytes(enhanced([body(0), body(1)])),
        *(dicom_bytes(ct_dataset(), SYNTAXES[name]) for name in ("deflated", "RLE", "JPEG-LS", "JPEG 2000")),
    ]
    rng = np.random.default_rng(5)
    for round_ in range(240):
        data = bytearray(sources[round_ % len(sources)])
        header = 900 if round_ % 2 else len(data)  # half of them hit the header only
        for at in rng.integers(0, min(header, len(data)), rng.integers(1, 12)):
            data[at] = rng.integers(0, 256)
        if round_ % 7 == 0:
            del data[int(rng.integers(0, len(data))) :]
        with suppress(SliceError):
            for frame in read(bytes(data), CONTRACT).frames:
                assert (frame.pixels is None) != (frame.excluded is None)


def test_meta_information_without_a_transfer_syntax_is_guessed() -> None:
    dataset = ct_dataset()
    data = dicom_bytes(dataset)
    meta = data.index(b"\x02\0\x10\0UI")
    length = int.from_bytes(data[meta + 6 : meta + 8], "little")
    assert one(data[:meta] + data[meta + 8 + length :]).pixels is not None
    assert isinstance(dataset.file_meta, FileMetaDataset)
