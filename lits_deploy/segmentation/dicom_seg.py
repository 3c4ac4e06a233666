"""Masks of a DICOM series as a DICOM SEG (PS3.3, A.51), by highdicom: it lies on its source slices and names them.

Two binary segments that do not overlap: the liver outside its lesions, and the lesions, coded in SNOMED CT. Every
source slice has a frame in each, empty ones too: viewers were seen to shift the others where those are left out. What
the object says of patient and study is what `headers.dicom` kept of the source. Its UIDs derive from what is in it, so
that the same run writes the same object.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import MissingExtra
from lits_deploy.release import __version__

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_NEEDED = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Rows", "Columns"),
)
_MAY_BE_EMPTY = ("PatientName", "PatientID", "StudyID", "AccessionNumber")
_UID_SPACE = uuid.UUID("0b7c8f5e-5d0c-5c0a-8a53-2f1e6a9f4d10")
"""Namespace of the UIDs made here, drawn once."""

GREEN, RED = (37495, 17264, 47983), (30099, 51312, 48349)
"""sRGB (0, 160, 0) and (220, 0, 0), the colours of the PNG masks, as CIELab in 16 bits each (PS3.3, C.10.7.1.1)."""

NOTICE = "Not a medical device, not for clinical use"  # 64 characters at most
SERIES_NUMBER = 900


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """What made the masks. name: of the network; bundle: SHA-256 of the manifest; artifact: which of its files."""

    name: str
    bundle: str
    artifact: str


def check_installed() -> None:
    """Raise MissingExtra where highdicom is not there."""
    try:
        import highdicom.seg  # noqa: F401
    except ImportError as error:
        raise MissingExtra("highdicom", "dicom-out") from error


def missing(dataset: Dataset) -> str | None:
    """What keeps a source slice from being referenced, or None."""
    lacking = [keyword for keyword in _NEEDED if not dataset.get(keyword)]
    if not dataset.get("SliceThickness") and "SharedFunctionalGroupsSequence" not in dataset:
        lacking.append("SliceThickness")
    return f"its header lacks {', '.join(lacking)}" if lacking else None


def instance_uid(source: Sequence[Dataset], labels: npt.NDArray[np.uint8], algorithm: Algorithm) -> str:
    """The SOP Instance UID of a SEG of these labels on these slices: `2.25.` and a UUID (PS3.5, B.2)."""
    digest = hashlib.sha256(labels.tobytes())
    for part in (algorithm.bundle, algorithm.artifact, __version__, *(str(each.SOPInstanceUID) for each in source)):
        digest.update(part.encode() + b"\0")
    return _uid("instance", digest.hexdigest())


def seg_of(
    source: Sequence[Dataset], labels: npt.NDArray[np.uint8], algorithm: Algorithm, uid: str, made: datetime
) -> bytes:
    """The bytes of a SEG file.

    source: the slices, as `headers.dicom` keeps them: one data set each, or one of many frames. labels: uint8
    [slices, rows, columns], 0, 1, 2, in the order of the slices. uid: of `instance_uid`. made: when it was first made.
    """
    from highdicom.seg import Segmentation

    source = [_completed(dataset) for dataset in source]
    segmentation = Segmentation(
        source_images=source,
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=_segments(algorithm),
        series_instance_uid=_uid("series", uid),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer="lits-deploy",
        manufacturer_model_name="lits-deploy segment",
        software_versions=__version__,
        device_serial_number=algorithm.bundle[:12],
        omit_empty_frames=False,
        content_label="LIVER_LESION",
        content_description=NOTICE,
        content_creator_name=None,
        series_description="Liver and lesion masks, not for clinical use",
    )
    _settle(segmentation, uid, made)
    buffer = io.BytesIO()
    segmentation.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _settle(segmentation: Dataset, uid: str, made: datetime) -> None:
    """Set what highdicom takes from the clock and from chance, so that the same object is made again as it was."""
    day, time = made.strftime("%Y%m%d"), made.strftime("%H%M%S")
    for keyword in ("ContentDate", "InstanceCreationDate", "SeriesDate"):
        setattr(segmentation, keyword, day)
    for keyword in ("ContentTime", "InstanceCreationTime", "SeriesTime"):
        setattr(segmentation, keyword, time)
    for item in segmentation.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = day + time
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = _uid("dimensions", uid)


def _segments(algorithm: Algorithm) -> list[Any]:
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    identification = AlgorithmIdentificationSequence(
        name=f"lits-deploy {algorithm.name}"[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=algorithm.bundle,
        parameters={"bundle": algorithm.bundle, "artifact": algorithm.artifact, "lits-deploy": __version__},
    )
    sct = codes.SCT
    described = (
        ("Liver", sct.AnatomicalStructure, sct.Liver, None, "liver outside its lesions", GREEN),
        ("Lesion", sct.MorphologicallyAbnormalStructure, sct.Lesion, [sct.Liver], "lesions of the liver", RED),
    )
    segments = []
    for number, (label, category, what, regions, description, colour) in enumerate(described, start=1):
        segment = SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=category,
            segmented_property_type=what,
            algorithm_type="AUTOMATIC",
            algorithm_identification=identification,
            anatomic_regions=regions,
        )
        segment.SegmentDescription = description
        segment.RecommendedDisplayCIELabValue = list(colour)
        segments.append(segment)
    return segments


def _completed(dataset: Dataset) -> Dataset:
    """The source with what a SEG must have, empty where the source has nothing that it could say."""
    if (
        not isinstance(dataset.get("SpecificCharacterSet", "ISO_IR 6"), str)
        or dataset.get("SpecificCharacterSet") == ""
    ):
        _in_one_character_set(dataset)
    for keyword in _MAY_BE_EMPTY:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    for keyword in ("PatientBirthDate", "StudyDate", "StudyTime"):
        _keep_if_valid(dataset, keyword)
    if dataset.get("PatientSex") not in ("M", "F", "O"):
        dataset.PatientSex = ""
    if "Modality" not in dataset:
        dataset.Modality = "CT"
    return dataset


def _in_one_character_set(dataset: Dataset) -> None:
    """Text in UTF-8, or in ASCII where that will do: highdicom takes neither an empty character set nor several."""
    texts = {keyword: str(dataset.get(keyword) or "") for keyword in _MAY_BE_EMPTY}
    for keyword, text in texts.items():
        setattr(dataset, keyword, text)
    if all(text.isascii() for text in texts.values()):
        del dataset.SpecificCharacterSet
    else:
        dataset.SpecificCharacterSet = "ISO_IR 192"


def _keep_if_valid(dataset: Dataset, keyword: str) -> None:
    """Empty a date or time that is none: highdicom refuses it."""
    from pydicom.valuerep import DA, TM

    value = str(dataset.get(keyword) or "")
    try:
        (TM if keyword.endswith("Time") else DA)(value)
    except (ValueError, TypeError, OverflowError):
        value = ""
    setattr(dataset, keyword, value)


def _uid(*parts: str) -> str:
    return f"2.25.{uuid.uuid5(_UID_SPACE, '/'.join(parts)).int}"
