"""Scans for tests, made on the spot: an asymmetric body in HU as DICOM and as NIfTI, as many a scanner may write it."""

from __future__ import annotations

import io
import warnings
from typing import Any

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from lits_deploy.contract import InputContract, window_to_uint8
from lits_deploy.scans.orient import REORIENTATIONS, restored

Pixels = np.ndarray[Any, Any]

WINDOW = (-160.0, 240.0)
CONTRACT = InputContract(window_hu=WINDOW, size=64, crop=56)
SIDE, SPACING = 128, 2.5  # a field of view of 320 mm

# A reorientation's name → Image Orientation (Patient) of a slice that is upright after it.
DIRECTIONS = {
    name: tuple(
        float(value)
        for value in (
            np.array([[1, 0, 0], [0, 1, 0]])[:: -1 if how.swap else 1]
            * np.array([[-1 if how.reverse_columns else 1, -1 if how.reverse_rows else 1, 1]])
        ).ravel()
    )
    for name, how in REORIENTATIONS.items()
}


def body(level: int = 0, side: int = SIDE) -> Pixels:
    """HU [side, side] int16 of a slice that stands: spine below, bright organ on the left, the patient's right."""
    y, x = (np.mgrid[0:side, 0:side] - (side - 1) / 2) / (side / 2)
    rng = np.random.default_rng(level)
    hu = np.full((side, side), -1000.0)
    inside = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    hu[inside] = 40
    hu[((x + 0.35) / 0.3) ** 2 + (y / (0.3 + 0.01 * level)) ** 2 < 1] = 110
    hu[x**2 + (y - 0.4) ** 2 < 0.01] = 450
    hu[inside] += rng.normal(0, 15, int(inside.sum()))
    return np.rint(hu).astype(np.int16)


def expected(hu: Pixels, size: int = 64) -> Pixels:
    """What the network should get of a square slice that stands: windowed, then the area mean."""
    grey = window_to_uint8(hu, WINDOW).astype(float)
    step = len(hu) // size
    return grey.reshape(size, step, size, step).mean(axis=(1, 3))


def ct_dataset(hu: Pixels | None = None, *, slope: float = 1, intercept: float = -1024, **changes: Any) -> Dataset:
    """A CT slice with what its IOD asks for; `changes` set elements by keyword, None removes one."""
    hu = body() if hu is None else hu
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": "2.25.3",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PatientID": "ID-1",
        "PatientName": "Doe^Jane",
        "AccessionNumber": "ACC-1",
        "StudyInstanceUID": "2.25.1",
        "SeriesInstanceUID": "2.25.2",
        "FrameOfReferenceUID": "2.25.4",
        "PixelSpacing": [SPACING, SPACING],
        "SliceThickness": 5,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-160, -160, 30],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": hu.shape[0],
        "Columns": hu.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": intercept,
        "RescaleSlope": slope,
        "RescaleType": "HU",
    }
    stored = np.rint((hu.astype(float) - intercept) / slope)
    dtype = "<i2" if changes.get("PixelRepresentation") else "<u2"
    values |= {"PixelData": stored.astype(dtype).tobytes()} | changes
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "2.25.3")
    return dataset


def dicom_bytes(dataset: Dataset, syntax: str | None = None, **options: Any) -> bytes:
    """The bytes of a DICOM file; `syntax` compresses it or writes it another way."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if syntax is not None and UID(syntax).is_compressed and not UID(syntax).is_deflated:
            dataset.compress(syntax, generate_instance_uid=False)
        elif syntax is not None:
            dataset.file_meta.TransferSyntaxUID = UID(syntax)
            if not UID(syntax).is_little_endian:
                dataset["PixelData"].VR = "OW"
                dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        dataset.save_as(stream, enforce_file_format=True, **options)
    return stream.getvalue()


def ct(hu: Pixels | None = None, **changes: Any) -> bytes:
    """The bytes of a CT slice, see `ct_dataset`."""
    return dicom_bytes(ct_dataset(hu, **changes))


def reoriented_ct(name: str, hu: Pixels | None = None, **changes: Any) -> bytes:
    """A slice that the reorientation of that name makes upright."""
    source = np.ascontiguousarray(restored(body() if hu is None else hu, name))
    return ct(source, ImageOrientationPatient=list(DIRECTIONS[name]), **changes)


def enhanced(levels: list[Pixels], *, order: list[int] | None = None, **changes: Any) -> Dataset:
    """Enhanced CT: all slices in one file, 5 mm apart, each with a slope of its own, listed from head to feet.

    order: another one in which they are listed.
    """
    dataset = ct_dataset(np.concatenate(levels), Rows=levels[0].shape[0], SOPClassUID=EnhancedCTImageStorage)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "PixelSpacing", "SliceThickness"):
        del dataset[keyword]
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = len(levels)
    dataset.SharedFunctionalGroupsSequence = Sequence(
        [
            _item(
                PixelMeasuresSequence={"PixelSpacing": [SPACING, SPACING], "SliceThickness": 5},
                PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
            )
        ]
    )
    frames, data = [], b""
    for number in order or range(len(levels)):
        hu, slope = levels[number], number + 1
        data += np.rint((hu.astype(float) + 1024) / slope).astype("<u2").tobytes()
        frames.append(
            _item(
                PlanePositionSequence={"ImagePositionPatient": [-160, -160, 100 - 5 * number]},
                PixelValueTransformationSequence={
                    "RescaleSlope": slope,
                    "RescaleIntercept": -1024,
                    "RescaleType": "HU",
                },
                CTImageFrameTypeSequence={"FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]},
            )
        )
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    dataset.PixelData = data
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def _item(**macros: dict[str, Any]) -> Dataset:
    group = Dataset()
    for macro, attributes in macros.items():
        item = Dataset()
        for keyword, value in attributes.items():
            setattr(item, keyword, value)
        setattr(group, macro, Sequence([item]))
    return group


def stack(levels: int = 3, side: int = SIDE) -> Pixels:
    """HU [z, row, column] of slices that stand, from feet to head."""
    return np.stack([body(level, side) for level in range(levels)])


def affine(name: str = "", *, step: float = 5.0, spacing: float = SPACING, z0: float = 30.0) -> Pixels:
    """NIfTI affine (RAS) of a volume whose slices lie as `reoriented_ct` writes them."""
    six = np.array(DIRECTIONS[name])
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = six[:3] * spacing, six[3:] * spacing, (0, 0, step)
    matrix[:3, 3] = (-160, -160, z0)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def nifti(
    hu: Pixels,
    matrix: Pixels | None = None,
    *,
    reorientation: str = "",
    kind: Any = nib.Nifti1Image,
    header: dict[str, Any] | None = None,
    code: int = 1,
    big_endian: bool = False,
) -> bytes:
    """The bytes of a `.nii` that holds slices [z, row, column], stored so that `reorientation` makes them upright."""
    voxels = np.ascontiguousarray(restored(hu, reorientation).transpose(2, 1, 0))
    image = kind(voxels, affine(reorientation) if matrix is None else matrix)
    if big_endian:
        image = kind(voxels, affine(reorientation) if matrix is None else matrix, image.header.as_byteswapped(">"))
    image.header.set_xyzt_units("mm")
    image.set_qform(image.affine, code=code)
    image.set_sform(image.affine, code=code)
    data = bytes(image.to_bytes())
    if header is None:
        return data
    size = len(image.header.binaryblock)
    changed = type(image.header)(data[:size], image.header.endianness, check=False)
    for key, value in header.items():
        changed[key] = value
    return bytes(changed.binaryblock) + data[size:]


def stands(pixels: Pixels | None, hu: Pixels) -> bool:
    """Whether a slice [1, 64, 64] shows this HU as the network should see it."""
    assert pixels is not None
    return bool(np.abs(pixels[0].astype(float) - expected(hu, pixels.shape[-1])).max() <= 2)
