"""DICOM headers tell where a slice lies and what tells it from others there; what makes no sense is not there."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lits_deploy.scans.dicom import read
from lits_deploy.series import SliceHeader
from scan_files import CONTRACT, body, ct, dicom_bytes, enhanced


def header(**changes: Any) -> SliceHeader:
    with disable_value_validation():
        data = ct(**changes)
    (frame,) = read(data, CONTRACT, headers_only=True).frames
    return frame.header


def test_a_slice_tells_its_place_number_time_and_what_it_is() -> None:
    assert header(
        SliceLocation="-12.5",
        InstanceNumber=7,
        AcquisitionNumber=2,
        AcquisitionTime="101530.25",
        ConvolutionKernel=["i30f ", "3"],
        TemporalPositionIdentifier=3,
        TriggerTime="250.5",
        ImageType=["ORIGINAL", "primary", "Axial  x"],
    ) == SliceHeader(
        position=30.0,
        location=-12.5,
        number=7,
        instance="2.25.3",
        clock=36930.25,
        labels={
            "image type": "ORIGINAL\\PRIMARY\\AXIAL X",
            "kernel": "I30F\\3",
            "temporal position": 3,
            "trigger time": 250.5,
            "acquisition": 2,
        },
    )


def test_what_is_missing_is_not_there() -> None:
    bare = header(SOPInstanceUID=None, ImageType=None, ImagePositionPatient=None)
    assert bare == SliceHeader()
    assert bare.to_json() == {}
    assert SliceHeader(**header(InstanceNumber=0).to_json()) == header(InstanceNumber=0)
    assert header(InstanceNumber=0).number == 0


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("10", 36000.0),
        ("1015", 36900.0),
        ("10:15:30", 36930.0),
        ("000000.000000", 0.0),
        ("2500", None),
        ("noon", None),
        ("", None),
    ],
)
def test_a_clock_is_read_in_every_form_and_nonsense_is_none(time: str, seconds: float | None) -> None:
    assert header(AcquisitionTime=time).clock == seconds
    assert header(AcquisitionDateTime="20240229" + time).clock == seconds


def test_nonsense_fails_nothing() -> None:
    data = ct(SliceLocation="9871", InstanceNumber="9872", AcquisitionNumber="9873", TriggerTime="9874")
    for written, nonsense in ((b"9871", b"up  "), (b"9872", b"7th "), (b"9873", b"1.5 "), (b"9874", b"9e99")):
        assert written in data
        data = data.replace(written, nonsense)
    (frame,) = read(data, CONTRACT, headers_only=True).frames
    assert frame.header == SliceHeader(
        position=30.0, instance="2.25.3", labels={"image type": "ORIGINAL\\PRIMARY\\AXIAL"}
    )


def framed(pointers: list[int], *contents: dict[str, Any], **changes: Any) -> list[SliceHeader]:
    """Where the frames of an enhanced CT lie whose frame contents are these."""
    dataset = enhanced([body(level) for level in range(len(contents))], **changes)
    indices = []
    for pointer in pointers:
        item = Dataset()
        item.DimensionIndexPointer = pointer
        indices.append(item)
    dataset.DimensionIndexSequence = Sequence(indices)
    for group, content in zip(dataset.PerFrameFunctionalGroupsSequence, contents, strict=True):
        item = Dataset()
        for keyword, value in content.items():
            setattr(item, keyword, value)
        group.FrameContentSequence = Sequence([item])
    return [frame.header for frame in read(dicom_bytes(dataset), CONTRACT, headers_only=True).frames]


def test_frames_tell_their_own_and_the_dimensions_that_are_no_place() -> None:
    stack, in_stack, temporal, position = (
        "StackID",
        "InStackPositionNumber",
        "TemporalPositionIndex",
        "ImagePositionPatient",
    )
    found = framed(
        [stack, in_stack, temporal, position],
        {
            "DimensionIndexValues": [1, 2, 9, 4],
            "InStackPositionNumber": 2,
            "TemporalPositionIndex": 9,
            "FrameAcquisitionNumber": 5,
            "FrameAcquisitionDateTime": "20240229101530.5+0100",
        },
        {"DimensionIndexValues": [1, 1, 8, 3], "InStackPositionNumber": 1},
        InstanceNumber=77,
        SliceLocation=3,
        AcquisitionNumber=4,
        AcquisitionTime="11",
    )
    image_type = "ORIGINAL\\PRIMARY\\VOLUME\\NONE"
    assert found == [
        SliceHeader(
            position=100.0,
            number=2,
            instance="2.25.3",
            clock=36930.5,
            labels={"image type": image_type, "dimension": "9", "temporal position": 9, "acquisition": 5, "file": 77},
        ),
        SliceHeader(
            position=95.0,
            number=1,
            instance="2.25.3",
            clock=39600.0,
            labels={"image type": image_type, "dimension": "8", "acquisition": 4, "file": 77},
        ),
    ]


def test_dimensions_that_only_place_a_frame_are_no_label() -> None:
    for at in framed(
        ["StackID", "InStackPositionNumber"], {"DimensionIndexValues": [1, 2]}, {"DimensionIndexValues": [1, 1]}
    ):
        assert "dimension" not in at.labels
    (one, _) = framed([], {"DimensionIndexValues": [1, 2]}, {})
    assert "dimension" not in one.labels


def test_a_frame_whose_spacing_was_rounded_otherwise_is_no_other_frame() -> None:
    dataset = enhanced([body(0), body(1)])
    for group, spacing in zip(dataset.PerFrameFunctionalGroupsSequence, ("2.50005", "2.50004999"), strict=True):
        item = Dataset()
        item.PixelSpacing, item.SliceThickness = [spacing, spacing], 5
        group.PixelMeasuresSequence = Sequence([item])
    assert [frame.excluded for frame in read(dicom_bytes(dataset), CONTRACT).frames] == [None, None]


def test_frames_without_a_number_of_their_own_have_none() -> None:
    """The file's numbers and places are no frame's: all frames would lie at one place."""
    for frame in read(dicom_bytes(enhanced([body(0), body(1)], InstanceNumber=7, SliceLocation=3)), CONTRACT).frames:
        assert (frame.header.number, frame.header.location) == (None, None)
