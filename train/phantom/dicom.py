"""Phantoms as DICOM series: one CT Image Storage file a slice, with synthetic headers, and the masks as NIfTI.

    OUT/volume-N/0001.dcm …    12-bit CT slices, Explicit VR Little Endian; 0001 is the most cranial
    OUT/segmentation-N.nii     uint8 labels on the same grid, slices from caudal to cranial

HU are stored exactly (intercept −1024, slope 1: the phantom's −1024…3071 HU are 0…4095). As on many scanners the file
and instance numbers run from head to feet, against the slice position: a reader has to sort by ImagePositionPatient.
Headers hold what the CT Image IOD asks for (DICOM PS3.3, A.3) and what a reader of CT looks at; no name, date or
number in them is anyone's. UIDs derive from seed and patient (PS3.5, B.2: `2.25.` and a UUID), so the same numbers
give the same bytes and two patients never share one. Knows nothing about compression, multi-frame CT or DICOM SEG.
"""

from __future__ import annotations

import datetime
import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from lits_deploy.files import write_bytes
from train.phantom.anatomy import Phantom
from train.phantom.nifti import write_segmentation

INTERCEPT_HU = -1024
UID_SPACE = uuid.UUID("5f0f7c1e-8a53-5b0c-9d0e-3f6f1f3d7a21")
"""Namespace of all UIDs of phantoms, drawn once."""

_PHASES = {"portal": "PORTAL VENOUS", "fatty": "PORTAL VENOUS", "arterial": "ARTERIAL", "unenhanced": "UNENHANCED"}


def make_uid(*parts: object) -> UID:
    """A UID that is always the same for the same parts: `2.25.` and a name-based UUID as a decimal number."""
    return UID(f"2.25.{uuid.uuid5(UID_SPACE, '/'.join(map(str, parts))).int}")


def series(phantom: Phantom) -> Iterator[Dataset]:
    """Yield the slices of a phantom as CT Image Storage data sets with file meta, from head to feet."""
    for number, level in enumerate(reversed(range(len(phantom.hu))), start=1):
        yield _slice(phantom, level, number)


def write_series(out: Path, phantom: Phantom) -> list[str]:
    """Write a phantom's segmentation and slices, and return their names."""
    files = [write_segmentation(out, phantom)]
    for dataset in series(phantom):
        files.append(f"volume-{phantom.patient}/{dataset.InstanceNumber:04d}.dcm")
        stream = io.BytesIO()
        dataset.save_as(stream, enforce_file_format=True)
        write_bytes(out / files[-1], stream.getvalue())
    return files


def _slice(phantom: Phantom, level: int, number: int) -> Dataset:
    """One file: what the whole series shares, then where the slice lies and its pixels; the window is the slices'."""
    person, key, hu = phantom.person, (phantom.seed, phantom.patient), phantom.hu[level]
    day = (datetime.date(2000, 1, 1) + datetime.timedelta(days=phantom.patient % 3650)).strftime("%Y%m%d")
    (slices, rows, columns), (height, width) = phantom.grid_mm, hu.shape
    # mm to the patient's left, back and head, of the middle of the first pixel
    position = -(width - 1) / 2 * columns, -(height - 1) / 2 * rows, level * slices
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
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
        "SeriesDescription": f"PHANTOM {_PHASES[person.phase]}",
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
        # the slice
        "SOPInstanceUID": make_uid("slice", *key, level),
        "InstanceNumber": number,
        "ImagePositionPatient": [f"{mm:.5f}" for mm in position],
        "SliceLocation": f"{level * slices:.4f}",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": height,
        "Columns": width,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": str(INTERCEPT_HU),
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "WindowCenter": "60",
        "WindowWidth": "200",
        "PixelData": (hu.astype(np.int32) - INTERCEPT_HU).astype("<u2").tobytes(),
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if person.phase != "unenhanced":
        dataset.ContrastBolusAgent = "synthetic"
    return dataset
