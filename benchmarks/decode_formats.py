"""CT slices in HU written in every format that is read, in memory, for `benchmarks.decode_rates`."""

from __future__ import annotations

import gzip
import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import DataError
from train.phantom import make_phantom
from train.phantom.volumes import nifti_bytes

Slices = npt.NDArray[np.int16]

JPEG_LS, JPEG_2000, RLE = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
DEFLATED = "1.2.840.10008.1.2.1.99"
SIDE, SPACING_MM, STEP_MM = 512, 0.75, 5.0
_NOISE_HU = 12  # phantoms are smoother than a scanner's slices, and would compress better than any


def phantom_slices(count: int) -> Slices:
    """HU int16 [count, 512, 512] of synthetic patients, enlarged from 256, with a scanner's noise."""
    found: list[Slices] = []
    patient = 0
    while sum(map(len, found)) < count:
        found.append(make_phantom(1, patient, slices=min(24, count)).hu)
        patient += 1
    hu = np.concatenate(found)[:count].repeat(SIDE // 256, axis=1).repeat(SIDE // 256, axis=2)
    noise = np.random.default_rng(0).normal(0, _NOISE_HU, hu.shape)
    return np.clip(hu + noise, -1024, 3071).round().astype(np.int16)


def real_slices(path: Path, count: int) -> Slices:
    """HU int16 [count, rows, columns], evenly spread over the DICOM files of a zip or folder."""
    if path.is_dir():
        files = [file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()]
    else:
        with zipfile.ZipFile(path) as archive:
            files = [archive.read(name) for name in sorted(archive.namelist()) if not name.endswith("/")]
    if not files:
        raise DataError(f"There is no file in {path.name}.", fix="name a zip or folder of one DICOM series")
    chosen = np.unique(np.linspace(0, len(files) - 1, count).round().astype(int))
    slices = []
    for index in chosen:
        dataset = dcmread(io.BytesIO(files[index]))
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        slices.append(np.clip(dataset.pixel_array * slope + intercept, -1024, 3071).round().astype(np.int16))
    return np.stack(slices)


def written(hu: Slices, window: tuple[float, float]) -> Iterator[tuple[str, str, list[bytes]]]:
    """Yield (name, reader module, files) for every format. The files of a format hold all slices together."""
    picture, dicom, nifti = (f"lits_deploy.scans.{name}" for name in ("image", "dicom", "nifti"))
    grey = window_to_uint8(hu, window)
    yield "PNG", picture, [_picture(level, "PNG") for level in grey]
    yield "JPEG", picture, [_picture(level, "JPEG", quality=90) for level in grey]
    make: dict[str, Callable[[Dataset], bytes]] = {
        "DICOM": lambda dataset: _saved(dataset),
        "DICOM deflated": lambda dataset: _saved(dataset, DEFLATED),
        "DICOM RLE": lambda dataset: _compressed(dataset, RLE),
        "DICOM JPEG-LS": lambda dataset: _compressed(dataset, JPEG_LS),
        "DICOM JPEG 2000": lambda dataset: _compressed(dataset, JPEG_2000),
        "DICOM JPEG lossless": _jpeg_lossless,
    }
    for name, write in make.items():
        yield name, dicom, [write(_dataset(level, place)) for place, level in enumerate(hu)]
    affine = np.diag([-SPACING_MM, -SPACING_MM, STEP_MM, 1.0])
    affine[:2, 3] = hu.shape[2] / 2 * SPACING_MM
    volume = nifti_bytes(hu, affine, "synthetic or trial data")
    yield "NIfTI", nifti, [volume]
    yield "NIfTI gz", nifti, [gzip.compress(volume, 6)]


def _picture(grey: npt.NDArray[np.uint8], kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, kind, **options)
    return stream.getvalue()


def _dataset(hu: npt.NDArray[np.int16], place: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"2.25.{place + 1}")
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"2.25.{place + 1}",
        "StudyInstanceUID": "2.25.1000001",
        "SeriesInstanceUID": "2.25.1000002",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PixelSpacing": [SPACING_MM, SPACING_MM],
        "SliceThickness": STEP_MM,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, place * STEP_MM],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": hu.shape[0],
        "Columns": hu.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "PixelData": (hu.astype(np.int32) + 1024).astype("<u2").tobytes(),
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _saved(dataset: Dataset, syntax: str | None = None) -> bytes:
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _compressed(dataset: Dataset, syntax: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.compress(syntax, generate_instance_uid=False)
    return _saved(dataset)


def _jpeg_lossless(dataset: Dataset) -> bytes:
    """Through GDCM, which reads and writes files only."""
    import gdcm

    with tempfile.TemporaryDirectory(prefix="lits-deploy-decode-") as folder:
        plain, packed = Path(folder, "plain"), Path(folder, "packed")
        plain.write_bytes(_saved(dataset))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(plain))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(packed))
        if not reader.Read():
            raise RuntimeError("GDCM cannot read a slice that pydicom wrote")
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError("GDCM cannot write JPEG lossless")
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise RuntimeError("GDCM cannot write a file")
        return packed.read_bytes()
