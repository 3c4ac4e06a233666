"""Of a DICOM file the few elements that place a mask on its slices and that a DICOM SEG of it must repeat.

Everything else, private elements and all prose first of all, is left behind here, in the worker. What a SEG has to
repeat are the patient and study that it belongs to (PS3.3, C.7.1.1 and C.7.2.1), the slices' identity and geometry, and
the character set that the patient's name is written in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans import READING, Reading, Scan
from lits_deploy.scans.dicom import MAX_BYTES as MAX_BYTES
from lits_deploy.scans.dicom.header import FRAME_GROUPS, SHARED_GROUPS, integer, items, parse, quiet
from lits_deploy.segmentation.headers import header_scan

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_TOP = (
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyDate", "StudyTime", "AccessionNumber"),
    *("Modality", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
    *("SeriesInstanceUID", "StudyID", "FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient"),
    *("NumberOfFrames", "Rows", "Columns", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
)
_GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
}
"""Functional groups that say where a frame lies (PS3.3, C.7.6.16.2)."""


def read(data: bytes, contract: InputContract, *, headers_only: bool = False, reading: Reading = READING) -> Scan:
    """The elements as a data set in Explicit VR Little Endian. Raises SliceError as `scans.dicom.read`."""
    from pydicom.dataset import Dataset
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset
    from pydicom.sequence import Sequence

    dataset = parse(data).dataset
    with quiet():
        kept = _kept(dataset, _TOP)
        for keyword in (SHARED_GROUPS, FRAME_GROUPS):
            if groups := items(dataset, keyword):
                setattr(kept, keyword, Sequence([_kept_groups(item, Dataset()) for item in groups]))
        buffer = DicomBytesIO()
        buffer.is_implicit_VR, buffer.is_little_endian = False, True
        try:
            write_dataset(buffer, kept)
        except MemoryError:
            raise
        except Exception as error:  # a value that pydicom read and cannot write
            raise SliceError("its header holds values that cannot be written again") from error
    return header_scan("dicom", integer(dataset, "Rows") or 0, integer(dataset, "Columns") or 0, buffer.getvalue())


def _kept(dataset: Dataset, keywords: tuple[str, ...]) -> Dataset:
    """A data set of those elements that are there and can be understood."""
    from pydicom.dataset import Dataset

    kept = Dataset()
    for keyword in keywords:
        try:
            if keyword in dataset:
                kept[keyword] = dataset[keyword]
        except MemoryError:
            raise
        except Exception:  # nonsense counts as missing, and what needs it then says so
            continue
    return kept


def _kept_groups(groups: Dataset, kept: Dataset) -> Dataset:
    from pydicom.sequence import Sequence

    for keyword, inner in _GROUPS.items():
        if found := items(groups, keyword)[:1]:
            setattr(kept, keyword, Sequence([_kept(found[0], inner)]))
    return kept
