"""A folder of scans in which every text of every header, and every name, is unmistakable; and a search for it.

HEADER   in every text element of the DICOM files, in nested ones too, in NIfTI and PNG metadata
BASE     in the name of the folder that the user points at
NAMES    in the names of folders and files below it
"""

from __future__ import annotations

import gzip
import io
import re
import sqlite3
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import nibabel
import numpy as np
import pyarrow.parquet
from PIL import Image, PngImagePlugin
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from hostile_corpus import dicom_file, hu_slice, nifti_file
from pictures import grey_pixels

HEADER, BASE, NAMES = "XPRIVX", "XBASEX", "XPATHX"
DIGITS = "987654321"
BIRTHDAY = "19510203"

# What a reader needs to find the pixels; everything else with text in it is planted.
_STRUCTURE = {
    "SOPClassUID",
    "Modality",
    "ImageType",
    "PhotometricInterpretation",
    "SpecificCharacterSet",
    "PatientPosition",
    "RescaleType",
    "PixelPaddingValue",
    "LossyImageCompression",
    "TransferSyntaxUID",
    "FrameType",
    "BurnedInAnnotation",
    "VolumetricProperties",
    "VolumeBasedCalculationTechnique",
    "PixelPresentation",
    "PresentationLUTShape",
    "PixelSpacingCalibrationType",
    "AvailableTransferSyntaxUID",
}
_TEXT = {
    "AE": f"{HEADER}AE",
    "CS": f"{HEADER}CS",
    "LO": f"{HEADER} long",
    "LT": f"{HEADER} text",
    "PN": f"{HEADER}^DOE",
    "SH": f"{HEADER}SH",
    "ST": f"{HEADER} short text",
    "UC": f"{HEADER} unlimited",
    "UT": f"{HEADER} utterly",
    "UR": f"http://{HEADER.lower()}.example",
    "DA": BIRTHDAY,
    "DT": f"{BIRTHDAY}010203",
    "AS": "072Y",
}


def planted_dicom(number: int, **values: object) -> bytes:
    """A CT slice whose every text element that no reader needs is planted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values that the standard would not have
        dataset = dcmread(io.BytesIO(dicom_file(hu_slice(number), number=number, **values)))
        plant(dataset, number)
        inner = Dataset()
        plant(inner, number, keywords=("PatientName", "PatientID", "StudyInstanceUID", "InstitutionName"))
        dataset.ReferencedStudySequence = Sequence([inner])
        dataset.RequestAttributesSequence = Sequence([inner])
        block = dataset.private_block(0x0099, f"{HEADER} PRIVATE", create=True)
        block.add_new(0x01, "LO", f"{HEADER} private")
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def plant(dataset: Dataset, number: int, keywords: Iterable[str] | None = None) -> None:
    """Put unmistakable values into every text element that no reader needs, or into those of some keywords."""
    for tag, (vr, vm, _, _, keyword) in DicomDictionary.items():
        chosen = keyword in keywords if keywords is not None else True
        if not keyword or not chosen or keyword in _STRUCTURE or tag >> 16 in (0x0002, 0x0004, 0x0000) or vm == "0":
            continue
        if vr in _TEXT and vm[0] == "1":
            setattr(dataset, keyword, _TEXT[vr])
        elif vr == "UI":
            # Slices of one series, study and frame share theirs; an instance has its own.
            own = number if keyword == "SOPInstanceUID" else 0
            setattr(dataset, keyword, f"2.25.{DIGITS}.{tag}.{own}")


def planted_scans(folder: Path) -> Path:
    """The folder of scans, whose name holds BASE: DICOM, NIfTI, PNG, a zip, and files of each kind that fail."""
    root = folder / f"{BASE}_DOE_JOHN"
    series = root / f"{NAMES}_DOE" / "ct"
    series.mkdir(parents=True)
    for number in range(4):
        (series / f"{NAMES}{number:04d}").write_bytes(planted_dicom(number))
    compressed = planted_dicom(4, syntax=RLELossless)
    (series / f"{NAMES}0004.dcm").write_bytes(compressed)
    (series / f"{NAMES}cut.dcm").write_bytes(compressed[:-1500])
    (series / f"{NAMES}bad.dcm").write_bytes(planted_dicom(6, Rows=60000))
    (series / f"{NAMES}mr.dcm").write_bytes(planted_dicom(7, Modality="MR"))
    other = root / f"{NAMES} Smith, Jane"
    other.mkdir()
    image = nibabel.Nifti1Image.from_bytes(nifti_file())
    image.header["descrip"] = HEADER
    image.header["db_name"] = HEADER
    (other / f"{NAMES}.nii.gz").write_bytes(gzip.compress(image.to_bytes()))
    (other / f"{NAMES}-cut.nii.gz").write_bytes(gzip.compress(image.to_bytes())[:-900])
    info = PngImagePlugin.PngInfo()
    info.add_text("Patient", HEADER)
    info.add_itxt("Name", HEADER, zip=True)
    for number in range(3):
        picture = Image.fromarray(grey_pixels(64, number))
        picture.save(other / f"{NAMES}_{number}.png", pnginfo=info)
    (other / f"{NAMES}_empty.png").write_bytes(b"")
    with zipfile.ZipFile(other / f"{NAMES}.zip", "w") as archive:
        archive.comment = HEADER.encode()
        archive.writestr(f"{NAMES}/inner.dcm", planted_dicom(8))
        archive.writestr(f"{NAMES}/broken.dcm", planted_dicom(9)[:2000])
    return root


def found_in(path: Path, secrets: Iterable[str]) -> set[str]:
    """Which of the secrets stand in a file in any case: in its bytes, in what it holds compressed, in its name."""
    texts = [path.read_bytes(), path.name.encode()]
    if path.suffix == ".parquet":
        texts.append(str(pyarrow.parquet.read_table(path).to_pylist()).encode())
        texts.append(str(pyarrow.parquet.read_schema(path).metadata).encode())
    elif path.suffix == ".gz":
        texts.append(zlib.decompressobj(31).decompress(texts[0]))  # as far as it goes: it may be cut
    elif path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
            texts.append(str(picture.info).encode())
    elif path.suffix == ".sqlite":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                texts.append(str(db.execute(f"SELECT * FROM {table}").fetchall()).encode())
        db.close()
    wanted = {word: re.compile(re.escape(word.encode()), re.IGNORECASE) for word in secrets}
    return {word for word, pattern in wanted.items() if any(pattern.search(text) for text in texts)}


def everything(folder: Path) -> list[Path]:
    """All files below a folder, hidden ones too."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read_back(pixels: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    """Pixels of a DICOM file, so that a test can see that planting left it readable."""
    return dcmread(io.BytesIO(pixels)).pixel_array
