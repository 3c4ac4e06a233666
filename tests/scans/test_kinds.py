"""Kinds: the suffix where it settles the matter, else the first bytes; what is recognised and not read has a reason."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lits_deploy.scans.kinds import DICOMDIR, by_content, is_dicomdir, looks_like_dicom, suffix_of
from scan_files import ct, ct_dataset, dicom_bytes, nifti, stack


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 40).save(buffer, kind)
    return buffer.getvalue()


def bare(syntax: str) -> bytes:
    """A data set without preamble and meta information."""
    data = dicom_bytes(ct_dataset(), syntax)
    return data[144 + int.from_bytes(data[140:144], "little") :]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (picture("PNG"), "picture"),
        (picture("JPEG"), "picture"),
        (ct(), "dicom"),
        (bare("1.2.840.10008.1.2"), "dicom"),
        (bare("1.2.840.10008.1.2.1"), "dicom"),
        (bare("1.2.840.10008.1.2.2"), "dicom"),
        (dicom_bytes(ct_dataset(), "1.2.840.10008.1.2.1.99"), "dicom"),
        (nifti(stack()), "nifti"),
        (nifti(stack(), big_endian=True), "nifti"),
        (gzip.compress(nifti(stack()), mtime=0), "nifti"),
        (b"PK\x05\x06" + bytes(18), "zip"),
    ],
)
def test_what_is_read_is_known_by_its_first_bytes(data: bytes, kind: str) -> None:
    assert by_content(data[:4096]) == (kind, None)


def test_nifti_2_is_known() -> None:
    import nibabel as nib

    assert by_content(nifti(stack(), kind=nib.Nifti2Image)[:4096]).kind == "nifti"


def test_an_index_is_known_by_name_and_by_content() -> None:
    index = ct().replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.1.3.10\0\0\0\0\0\0")
    assert by_content(index[:4096]).kind == DICOMDIR
    assert is_dicomdir("DICOMDIR")
    assert is_dicomdir("dicomdir")
    assert not is_dicomdir("DICOMDIR.bak")


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


def pair(magic: bytes, *, analyze: bool = False) -> bytes:
    header = bytearray(nifti(stack())[:352])
    header[344:348] = magic
    if analyze:
        header[38:39] = b"r"
    return bytes(header)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (picture("GIF"), "a GIF picture"),
        (picture("BMP"), "a BMP picture"),
        (picture("TIFF"), "a TIFF picture"),
        (picture("WEBP"), "a WebP picture"),
        (picture("JPEG2000"), "a JPEG 2000 picture"),
        (b"NRRD0004\ntype: short\n", "an NRRD volume"),
        (b"ObjectType = Image\nNDims = 3\n", "a MetaImage header"),
        (pair(b"ni1\0"), ".hdr and .img"),
        (pair(b"\0\0\0\0", analyze=True), ".hdr and .img"),
        (gzip.compress(b"patient;result\n" * 99, mtime=0), "a gzip file that holds no NIfTI volume"),
        (gzip.compress(ct(), mtime=0), "a gzip file that holds no NIfTI volume"),
        (gzip.compress(pair(b"ni1\0"), mtime=0), "a gzip file that holds no NIfTI volume"),
        (b"\x1f\x8b\x08" + b"\xff" * 50, "a damaged gzip file"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(20), "a 7-Zip archive"),
        (tar(), "a tar archive"),
    ],
)
def test_what_is_recognised_and_not_read_has_a_reason(data: bytes, says: str) -> None:
    kind, reason = by_content(data[:4096])
    assert kind is None
    assert says in (reason or "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Name: Doe",
        b"BM is how this text begins",
        b"II*",
        bytes(2000),
        b"\x08\0",
        b"\x5c\x01\0\0" + bytes(344),
        b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
        + b"\x01\x00\x05\x00CS\x02\x00AB",  # the second tag is lower than the first
    ],
)
def test_anything_else_is_none_of_our_business(data: bytes) -> None:
    assert by_content(data) == (None, None)


def test_a_gzip_bomb_is_only_looked_at() -> None:
    head = gzip.compress(bytes(64 << 20))[:4096]
    tracemalloc.start()
    assert by_content(head).kind is None
    assert tracemalloc.get_traced_memory()[1] < 64 << 10
    tracemalloc.stop()


def test_dicom_without_preamble_needs_two_elements_in_order() -> None:
    one = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
    assert looks_like_dicom(one)  # and nothing else
    assert looks_like_dicom(one + b"\x08\x00\x16\x00UI\x04\x001.2\0")
    assert not looks_like_dicom(one + b"\xff" * 20)
    assert not looks_like_dicom(b"\x10" + one[1:])
    assert not looks_like_dicom(np.random.default_rng(0).bytes(4096))


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.PNG", ".png"),
        ("volume-0.NII.gz", ".nii.gz"),
        ("a.csv.gz", ".gz"),
        ("1.2.840.113619", ".113619"),
        ("IM0001", ""),
        (".nii", ""),
        ("a.", "."),
    ],
)
def test_suffixes(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


def test_a_zip_is_known(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr("b", "c")
    assert by_content((tmp_path / "a").read_bytes()).kind == "zip"
