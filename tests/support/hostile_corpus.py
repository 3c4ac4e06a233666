"""Scan files of every kind, and broken ones made from them: the same for the same seed.

The originals are small and whole. A mutation changes bytes where formats are fragile: cut, flipped, zeroed, repeated,
swapped with another file's, or a length field made huge. Text in the DICOM files is PLANTED, so that a test can see
whether any of it gets out.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from functools import cache

import nibabel
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from pictures import encoded, grey_pixels

PLANTED = "XPRIVX"
SIDE = 64

Corpus = dict[str, bytes]


def hu_slice(seed: int = 0, side: int = SIDE) -> npt.NDArray[np.int16]:
    """A disc of tissue in air, in HU, that input gates let through: int16 [side, side]."""
    y, x = np.mgrid[:side, :side] / (side - 1) * 2 - 1
    body = (x / 0.85) ** 2 + (y / 0.65) ** 2 < 1
    tissue = 40 + 30 * np.sin(6 * x + seed) * np.cos(5 * y) + np.random.default_rng(seed).normal(0, 12, x.shape)
    return np.where(body, tissue, -1000).astype(np.int16)


def dicom_file(
    hu: npt.NDArray[np.int16], *, number: int = 1, syntax: str = ExplicitVRLittleEndian, **values: object
) -> bytes:
    """One CT slice as a DICOM file of a fixed series; `values` set or replace elements, None removes one."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    uids = {key: generate_uid(entropy_srcs=[PLANTED, key]) for key in ("study", "series", "frame")}
    fov = 400.0
    spacing = fov / hu.shape[0]
    everything = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(entropy_srcs=[PLANTED, str(number)]),
        "StudyInstanceUID": uids["study"],
        "SeriesInstanceUID": uids["series"],
        "FrameOfReferenceUID": uids["frame"],
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientName": f"{PLANTED}^NAME",
        "PatientID": f"{PLANTED}ID",
        "StudyDescription": f"{PLANTED} study",
        "InstanceNumber": number,
        "SliceThickness": "5",
        "PixelSpacing": [f"{spacing:.6f}"] * 2,
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "ImagePositionPatient": [f"{-fov / 2:.3f}", f"{-fov / 2:.3f}", f"{5.0 * number:.3f}"],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": hu.shape[0],
        "Columns": hu.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
    }
    for keyword, value in {**everything, **values}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.PixelData = (hu.astype(np.int32) + 1024).clip(0, 4095).astype("<u2").tobytes()
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def nifti_file(slices: int = 4, side: int = SIDE) -> bytes:
    """A volume of `slices` axial slices as NIfTI, RAS."""
    hu = np.stack([hu_slice(k, side)[::-1, ::-1].T for k in range(slices)], axis=-1)
    spacing = 400.0 / side
    affine = np.diag([spacing, spacing, 5.0, 1.0])
    affine[:2, 3] = -200
    return nibabel.Nifti1Image(hu, affine).to_bytes()


@cache
def originals() -> Corpus:
    """Name → bytes of whole files, one of each kind."""
    picture = grey_pixels(SIDE, 3)
    corpus = {
        "grey.png": encoded(picture),
        "colour.png": encoded(np.stack([picture] * 3, axis=-1)),
        "grey.jpg": encoded(picture, "JPEG"),
        "explicit.dcm": dicom_file(hu_slice()),
        "implicit.dcm": dicom_file(hu_slice(1), number=2, syntax=ImplicitVRLittleEndian),
        "deflated.dcm": dicom_file(hu_slice(2), number=3, syntax=DeflatedExplicitVRLittleEndian),
        "rle.dcm": dicom_file(hu_slice(4), number=4, syntax=RLELossless),
        "volume.nii": nifti_file(),
        "volume.nii.gz": gzip.compress(nifti_file(), mtime=0),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("grey.png", "explicit.dcm", "volume.nii"):
            archive.writestr(zipfile.ZipInfo(f"inner/{name}"), corpus[name])
    corpus["files.zip"] = packed.getvalue()
    return corpus


def broken_files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` files (name, bytes) made from the originals in turn by one to three mutations each."""
    rng = np.random.default_rng(seed)
    names = list(originals())
    for number in range(count):
        name = names[number % len(names)]
        data = originals()[name]
        for _ in range(rng.integers(1, 4)):
            data = _mutated(data, rng)
        stem, dot, suffix = name.partition(".")
        yield f"{number:05d}-{stem}{dot}{suffix}", data


def _mutated(data: bytes, rng: np.random.Generator) -> bytes:
    if not data:
        return data
    # Headers are where the damage is done: half of all places lie in the first 600 bytes.
    most = len(data) if rng.random() < 0.5 else min(600, len(data))
    at = int(rng.integers(0, most))
    length = int(min(2 ** rng.integers(0, 12), len(data) - at))
    match rng.integers(0, 8):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(0, 8)))]) + data[at + 1 :]
        case 2:
            return data[:at] + rng.bytes(length) + data[at + length :]
        case 3:
            return data[:at] + bytes(length) + data[at + length :]
        case 4:
            return data[:at] + data[at : at + length] * 2 + data[at + length :]
        case 5:
            huge = int(rng.choice([0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFF, 0]))
            return data[:at] + huge.to_bytes(4, "little" if rng.random() < 0.7 else "big") + data[at + 4 :]
        case 6:
            return data[:at] + data[at + length :]
        case _:
            other = originals()[str(rng.choice(list(originals())))]
            return data[:at] + other[at : at + length] + data[at + length :]
