"""What a DICOM header means: the series, each frame's position, how its values become HU, and whether to exclude it.

Attributes are those of the CT Image IOD (PS3.3, A.3) and, for files of many frames, of the functional groups of
Enhanced CT (A.38); a frame's own group goes before the shared one, and that before the top level.
Only the words below ever leave a header as text: anything else that a file says is compared and dropped, and
identifiers go into `SeriesHeader.identifiers` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans import NOT_AN_IMAGE, READING, Reading, SeriesHeader
from lits_deploy.scans.dicom.header import (
    FRAME_GROUPS,
    SHARED_GROUPS,
    Groups,
    Header,
    holds,
    integer,
    items,
    number,
    numbers,
    quiet,
    raw,
    tag,
    text,
    texts,
)
from lits_deploy.scans.dicom.pixels import PixelLayout, check_length
from lits_deploy.scans.dicom.position import SliceHeaders
from lits_deploy.scans.dicom.region import other_region
from lits_deploy.scans.dicom.technique import technique
from lits_deploy.scans.gates import geometry_doubt
from lits_deploy.scans.hounsfield import Rescale
from lits_deploy.scans.orient import Orientation, orientation_of
from lits_deploy.series.facts import Geometry, SliceHeader
from lits_deploy.series.identity import comparable

MODALITIES = frozenset(
    "CT MR PT NM CR DX DR MG US XA RF OT SC SEG SR PR KO REG FID RTSTRUCT RTDOSE RTPLAN RTRECORD RTIMAGE ECG EPS HD AU"  # noqa: SIM905
    " ES GM SM XC OP OCT OPT IO PX BI LS ST TG AR IVUS IVOCT DOC PLAN ASMT M3D BMD BDUS RWV SMR VA DMS OAM OPM OPV KER"
    " LEN SRF TEXTUREMAP CFM CTPROTOCOL ANN RESP RAW".split()
)
"""Defined terms of Modality (PS3.3, C.7.3.1.1.1); no other text of that element is repeated."""

CT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_INDEX = "1.2.840.10008.1.3.10"

MOST_SIDE = 4096
MOST_FRAMES = 20_000

_LOCALIZERS = {"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"}
_SCREENS = {"SCREEN SAVE", "SCREENSHOT", "SCREEN CAPTURE", "DOSE_INFO", "DOSE REPORT", "PROTOCOL"}
_PLAIN = {"", "AXIAL", "VOLUME", "NONE", "HELICAL", "SPIRAL", "OTHER"}  # third value of a derived image that is a slice

_IDENTIFIERS = {
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "patient_birth_date": "PatientBirthDate",
    "accession_number": "AccessionNumber",
    "study_uid": "StudyInstanceUID",
    "study_date": "StudyDate",
    "study_description": "StudyDescription",
    "series_uid": "SeriesInstanceUID",
    "series_number": "SeriesNumber",
    "series_description": "SeriesDescription",
    "frame_of_reference_uid": "FrameOfReferenceUID",
}
_HU_UNITS = {"", "HU", "US"}  # US: unspecified, which GDCM, and ITK with it, writes into every CT that names none


@dataclass(frozen=True, kw_only=True)
class ParsedFrame:
    """What a frame's header says. rescale: None where no HU can be had.

    orientation, spacing_mm (between rows, between columns): None where nothing says it. doubt: why the frame is
    excluded whatever its pixels are, or None.
    """

    orientation: Orientation | None
    spacing_mm: tuple[float, float] | None
    header: SliceHeader
    rescale: Rescale | None
    doubt: str | None


@dataclass(frozen=True, kw_only=True)
class ParsedHeader:
    """What a header says. layout: None where it describes no picture that could be decoded; frames: then just one."""

    series: SeriesHeader
    layout: PixelLayout | None
    frames: Sequence[ParsedFrame]


def interpret(header: Header, contract: InputContract, reading: Reading = READING) -> ParsedHeader:
    """Series and frames of a parsed file. Raises SliceError, with the series, where image attributes are nonsense
    or claim more frames than the file holds."""
    dataset = header.dataset
    doubt = _file_doubt(dataset)
    rows, columns = integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0
    shared, own = items(dataset, SHARED_GROUPS)[:1], items(dataset, FRAME_GROUPS)
    # Before `_series`: where that decodes a text, pydicom replaces the raw bytes.
    region = None if reading.any_body_part else other_region(dataset, own[:1] + shared)
    first = Groups(own[:1] + shared, dataset)
    orientation, spacing = _orientation(first), _spacing(first)
    series = _series(dataset, first, orientation, spacing, rows, columns)
    if doubt is not None:
        own_header = SliceHeaders(dataset, many=False).of(first, _position(first, orientation), _image_type(first))
        only = ParsedFrame(orientation=orientation, spacing_mm=spacing, header=own_header, rescale=None, doubt=doubt)
        return ParsedHeader(series=series, layout=None, frames=[only])
    try:
        layout = _layout(dataset, rows, columns)
        if header.pixels is not None:
            check_length(header.pixels, layout, header.syntax)
    except SliceError as error:
        raise SliceError(str(error), series=series) from None
    headers = SliceHeaders(dataset, many=bool(own) or layout.frames > 1)
    frames = []
    for index in range(layout.frames):
        groups = Groups(own[index : index + 1] + shared, dataset)
        frame = _parsed_frame(groups, layout, contract, headers)
        if layout.frames > 1 and not own:
            frame = _exclude(frame, "one of several frames without a position of its own")
        elif not comparable(_comparable(frame.orientation, frame.spacing_mm), _comparable(orientation, spacing)):
            frame = _exclude(frame, "its orientation is not that of the first frame of its file")
        if region is not None:
            frame = _exclude(frame, f"another part of the body: {region} (--any-body-part takes it)")
        frames.append(frame)
    return ParsedHeader(series=series, layout=layout, frames=frames)


def _file_doubt(dataset: Dataset) -> str | None:
    """Why nothing in the file is a CT slice in HU."""
    modality, sop_class = text(dataset, "Modality"), text(dataset, "SOPClassUID")
    if sop_class == _INDEX or holds(dataset, "DirectoryRecordSequence"):
        return f"a DICOM directory: an index, {NOT_AN_IMAGE}"
    if modality != "CT":
        known = modality in MODALITIES
        if not integer(dataset, "Rows"):
            return f"{f'modality {modality}' if known else 'a DICOM file without pixels'}: {NOT_AN_IMAGE}"
        return f"modality {modality}: not a CT image" if known else "not known to be CT: modality missing or unknown"
    if f"{sop_class}.".startswith(f"{SECONDARY_CAPTURE}."):
        return "a secondary capture: a picture of a CT image"
    if sop_class and sop_class not in CT_CLASSES:
        return "not a CT image but another object of modality CT"
    photometric = text(dataset, "PhotometricInterpretation")
    if (integer(dataset, "SamplesPerPixel") or 1) != 1 or photometric.startswith(("RGB", "YBR", "PALETTE")):
        return "colour: a screenshot, not a CT slice"
    if photometric == "MONOCHROME1":
        return "MONOCHROME1: an inverted picture, not a CT slice as scanners store it"
    if text(dataset, "BurnedInAnnotation") == "YES":
        return "annotations are burnt into the pixels"
    return None


def _type_doubt(image_type: list[str]) -> str | None:
    """Why an image of this ImageType or FrameType is no slice as scanned; stays silent where it is missing."""
    values = {word.upper() for word in image_type}
    if values & _LOCALIZERS:
        return "a localizer, not a slice"
    if values & _SCREENS:
        return "a screenshot or dose report, not a CT slice"
    kinds = [word.upper() for word in image_type[:3]] + [""] * (3 - len(image_type))
    if kinds[1] == "SECONDARY" or (kinds[0] == "DERIVED" and kinds[2] not in _PLAIN):
        return "a derived image (reformatted, projected or computed), not a slice as scanned"
    return None


def _layout(dataset: Dataset, rows: int, columns: int) -> PixelLayout:
    if not 0 < rows <= MOST_SIDE or not 0 < columns <= MOST_SIDE:
        raise SliceError(f"{columns}×{rows} pixels: more than any slice has" if rows * columns else "no pixels a slice")
    frames = 1
    if text(dataset, "NumberOfFrames"):
        claimed = number(dataset, "NumberOfFrames")
        if claimed is None or not 0 < claimed <= MOST_FRAMES or claimed != int(claimed):
            raise SliceError("the number of frames is no number, none, or beyond any series")
        frames = int(claimed)
    allocated = integer(dataset, "BitsAllocated") or 0
    stored = integer(dataset, "BitsStored") or allocated
    high = integer(dataset, "HighBit")
    representation = integer(dataset, "PixelRepresentation") or 0
    sane = allocated in (8, 16, 32) and 0 < stored <= allocated and representation in (0, 1)
    if not sane or (high is not None and high != stored - 1):
        raise SliceError("a layout of bits that no CT image has")
    signed = representation == 1
    return PixelLayout(frames=frames, rows=rows, columns=columns, allocated=allocated, stored=stored, signed=signed)


def _comparable(orientation: Orientation | None, spacing: tuple[float, float] | None) -> Geometry:
    """What frames of one file have in common, as far as their pixels go."""
    return Geometry(spacing_mm=spacing, reorientation="unknown" if orientation is None else orientation.reorientation)


def _parsed_frame(groups: Groups, layout: PixelLayout, contract: InputContract, headers: SliceHeaders) -> ParsedFrame:
    orientation, spacing = _orientation(groups), _spacing(groups)
    values = groups.holding("PixelValueTransformationSequence", "RescaleSlope")
    slope, intercept = number(values, "RescaleSlope"), number(values, "RescaleIntercept")
    unit = text(values, "RescaleType")
    image_type = _image_type(groups)
    rescale, doubt = None, _type_doubt(image_type)
    if doubt is None:
        thickness = number(groups.holding("PixelMeasuresSequence", "SliceThickness"), "SliceThickness")
        doubt = geometry_doubt(layout.rows, layout.columns, spacing, thickness, orientation, contract)
    if slope is None or intercept is None or slope == 0:
        doubt = doubt or "the header does not say how its values become HU"
    elif unit not in _HU_UNITS:
        doubt = doubt or "its values are not HU"
    else:
        rescale = Rescale(slope=slope, intercept=intercept, padding=_padding(groups, layout))
    header = headers.of(groups, _position(groups, orientation), image_type)
    return ParsedFrame(orientation=orientation, spacing_mm=spacing, header=header, rescale=rescale, doubt=doubt)


def _exclude(frame: ParsedFrame, reason: str) -> ParsedFrame:
    return replace(frame, doubt=frame.doubt or reason)


def _image_type(groups: Groups) -> list[str]:
    return texts(groups.holding("CTImageFrameTypeSequence", "FrameType"), "FrameType") or texts(groups.top, "ImageType")


def _orientation(groups: Groups) -> Orientation | None:
    six = _directions(groups)
    return None if six is None else orientation_of(six[:3], six[3:])


def _directions(groups: Groups) -> tuple[float, ...] | None:
    """Image Orientation (Patient): first the direction along a row, in which the column rises."""
    return numbers(groups.holding("PlaneOrientationSequence", "ImageOrientationPatient"), "ImageOrientationPatient", 6)


def _position(groups: Groups, orientation: Orientation | None) -> float | None:
    three = numbers(groups.holding("PlanePositionSequence", "ImagePositionPatient"), "ImagePositionPatient", 3)
    if three is None or orientation is None:
        return None
    return round(sum(a * b for a, b in zip(three, orientation.normal, strict=True)), 3)


def _spacing(groups: Groups) -> tuple[float, float] | None:
    """Pixel Spacing: the distance of rows, then that of columns."""
    two = numbers(groups.holding("PixelMeasuresSequence", "PixelSpacing"), "PixelSpacing", 2)
    return (round(two[0], 4), round(two[1], 4)) if two is not None and min(two) > 0 else None


def _padding(groups: Groups, layout: PixelLayout) -> tuple[float, float] | None:
    """Pixel Padding Value up to Pixel Padding Range Limit, whichever is the larger."""
    value = integer(groups.top, "PixelPaddingValue", signed=layout.signed)
    if value is None:
        return None
    limit = integer(groups.top, "PixelPaddingRangeLimit", signed=layout.signed)
    other = value if limit is None else limit
    return min(value, other), max(value, other)


def _series(
    dataset: Dataset,
    first: Groups,
    orientation: Orientation | None,
    spacing: tuple[float, float] | None,
    rows: int,
    columns: int,
) -> SeriesHeader:
    modality = text(dataset, "Modality")
    identifiers = {name: value for name, keyword in _IDENTIFIERS.items() if (value := _readable(dataset, keyword))}
    directions = None if orientation is None else _directions(first)
    return SeriesHeader(
        study=identifiers.get("study_uid", ""),
        series=identifiers.get("series_uid", ""),
        patient=identifiers.get("patient_id", ""),
        kind="dicom",
        modality=modality if modality in MODALITIES else None,
        geometry=Geometry(
            rows=rows,
            columns=columns,
            spacing_mm=spacing,
            directions=None if directions is None else tuple(round(value, 6) for value in directions),
            reorientation="" if orientation is None else orientation.reorientation,
        ),
        orientation="unknown" if orientation is None else orientation.text,
        technique=technique(dataset, first),
        identifiers=identifiers,
    )


def _readable(dataset: Dataset, keyword: str) -> str:
    """An identifier as a person wrote it, in the file's character set, on one line; raw where that fails."""
    value, _ = raw(dataset, keyword)
    if not value:
        return ""
    plain = value.decode("latin-1")
    if not plain.isascii():
        with quiet():
            try:
                plain = str(dataset[tag(keyword)].value)
            except MemoryError:
                raise
            except Exception:  # an unknown character set: the bytes as they are
                plain = value.decode("latin-1")
    printable = "".join(character if character.isprintable() else " " for character in plain)
    return printable.encode("utf-8", "replace").decode().strip()
