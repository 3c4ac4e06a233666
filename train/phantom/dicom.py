"""Phantoms as DICOM series: one CT Image Storage file a slice, with synthetic headers, and the masks as NIfTI.

    OUT/volume-N/0001.dcm …    12-bit CT slices, Explicit VR Little Endian; 0001 is the most cranial
    OUT/segmentation-N.nii     uint8 labels on the same grid, slices from caudal to cranial
    OUT/phantom.json           what was written; there only if everything is

HU are stored exactly (intercept −1024, slope 1: the phantom's −1024…3071 HU are 0…4095). As on many scanners the file
and instance numbers run from head to feet, against the slice position: a reader has to sort by ImagePositionPatient.
Headers hold what the CT Image IOD asks for (DICOM PS3.3, A.3) and what a reader of CT looks at; no name, date or
number in them is anyone's. UIDs derive from seed and patient (PS3.5, B.2: `2.25.` and a UUID), so the same numbers
give the same bytes and two patients never share one. Knows nothing about compression,
multi-frame CT or DICOM SEG.
"""

from __future__ import annotations

import datetime
import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lits_deploy.files import write_bytes
from train.data.slices import Progress
from train.phantom.anatomy import Phantom, make_phantom
from train.phantom.folder import Job, Written, describe, grid_mm
from train.phantom.nifti import write_segmentation, write_volumes

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

INTERCEPT_HU = -1024
UID_SPACE = uuid.UUID("5f0f7c1e-8a53-5b0c-9d0e-3f6f1f3d7a21")
"""Namespace of all UIDs of phantoms, drawn once."""

_FIRST_DAY = datetime.date(2000, 1, 1)
_PHASES = {"portal": "PORTAL VENOUS", "fatty": "PORTAL VENOUS", "arterial": "ARTERIAL", "unenhanced": "UNENHANCED"}


def write_dicom(
    out: Path, patients: int, seed: int, *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write phantoms 0…patients−1 of `seed` as DICOM series with NIfTI masks; return what `phantom.json` holds.

    The bytes do not depend on `workers` (processes; by default one per processor). Raises UserError for impossible
    numbers, OutputError where `out` holds something that this function did not write.
    """
    return write_volumes(out, patients, seed, "dicom", _write_patient, workers=workers, progress=progress)


def make_uid(*parts: object) -> UID:
    """A UID that is always the same for the same parts: `2.25.` and a name-based UUID as a decimal number."""
    from pydicom.uid import UID

    return UID(f"2.25.{uuid.uuid5(UID_SPACE, '/'.join(map(str, parts))).int}")


def series(phantom: Phantom) -> Iterator[Dataset]:
    """Yield the slices of a phantom as CT Image Storage data sets with file meta, from head to feet."""
    for number, level in enumerate(reversed(range(len(phantom.hu))), start=1):
        dataset = _header(phantom)
        _fill(dataset, phantom, level)
        dataset.InstanceNumber = number
        yield dataset


def _write_patient(job: Job) -> Written:
    phantom = make_phantom(job.seed, job.patient)
    files = [write_segmentation(job.out, phantom)]
    for number, dataset in enumerate(series(phantom), start=1):
        name = f"volume-{job.patient}/{number:04d}.dcm"
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        write_bytes(job.out / name, stream.getvalue())
        files.append(name)
    return describe(job, phantom, files)


def _header(phantom: Phantom) -> Dataset:
    """What all slices of a series share: patient, study, series, frame of reference, equipment, acquisition."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    person, key = phantom.person, (phantom.seed, phantom.patient)
    day = (_FIRST_DAY + datetime.timedelta(days=phantom.patient % 3650)).strftime("%Y%m%d")
    slices, rows, columns = grid_mm(phantom)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = make_uid("lits-deploy")
    dataset.file_meta.ImplementationVersionName = "LITS-DEPLOY"
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": CTImageStorage,
        # patient
        "PatientName": f"PHANTOM^{phantom.patient:03d}",
        "PatientID": f"PHANTOM-{phantom.seed}-{phantom.patient:03d}",
        "PatientBirthDate": "",
        "PatientSex": "F" if person.female else "M",
        "PatientAge": f"{round(25 + 55 * person.age):03d}Y",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "synthetic phantom, there is no patient",
        # study
        "StudyInstanceUID": make_uid("study", *key),
        "StudyDate": day,
        "StudyTime": "120000",
        "StudyID": str(phantom.patient),
        "StudyDescription": "SYNTHETIC ABDOMEN, NOT FOR CLINICAL USE",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        # series and frame of reference
        "Modality": "CT",
        "SeriesInstanceUID": make_uid("series", *key),
        "SeriesNumber": 2,
        "SeriesDescription": f"PHANTOM {_PHASES[phantom.phase]}",
        "BodyPartExamined": "ABDOMEN",
        "PatientPosition": "HFS",
        "FrameOfReferenceUID": make_uid("frame", *key),
        "PositionReferenceIndicator": "",
        # equipment and acquisition
        "Manufacturer": "lits-deploy phantom",
        "AcquisitionNumber": 1,
        "ContentDate": day,
        "ContentTime": "120130",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "KVP": "120",
        "SliceThickness": f"{person.frame.thickness_mm:.4f}",
        "SpacingBetweenSlices": f"{slices:.4f}",
        "PixelSpacing": [f"{rows:.4f}", f"{columns:.4f}"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if phantom.phase != "unenhanced":
        dataset.ContrastBolusAgent = "synthetic"
    return dataset


def _fill(dataset: Dataset, phantom: Phantom, level: int) -> None:
    """Where a slice lies, its pixels and how to read them; the suggested window is the slices', −40…160 HU."""
    slices, rows, columns = grid_mm(phantom)
    hu = phantom.hu[level]
    height, width = hu.shape
    dataset.SOPInstanceUID = make_uid("slice", phantom.seed, phantom.patient, level)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    # mm to the patient's left, back and head, of the middle of the first pixel
    position = -(width - 1) / 2 * columns, -(height - 1) / 2 * rows, level * slices
    dataset.ImagePositionPatient = [f"{mm:.5f}" for mm in position]
    dataset.SliceLocation = f"{level * slices:.4f}"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = height, width
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(INTERCEPT_HU), "1", "HU"
    dataset.WindowCenter, dataset.WindowWidth = "60", "200"
    dataset.PixelData = (hu.astype(np.int32) - INTERCEPT_HU).astype("<u2").tobytes()
