"""What kind a file is of: by its suffix where that settles it, else by its first bytes.

Only what the suffix leaves open is opened: a folder of a million PNGs costs no read. What is recognised as an image, a
medical format or an archive but is not read here has a reason, and becomes a failed row: nobody should think that it
was looked at. Anything else is none of our business, and is counted.
Knows nothing about whether a file is whole: that is the readers' part.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

HEAD = 4096
"""Bytes of a file that `by_content` wants to see."""

DICOMDIR = "dicomdir"
"""Kind of a DICOM directory: an index of other files, which are found without it."""

OTHER_SUFFIXES = frozenset(
    ".txt .md .rst .log .csv .tsv .json .jsonl .yaml .yml .toml .ini .cfg .xml .xsl .html .htm .css .js .py .ipynb .sh"  # noqa: SIM905
    " .bat .exe .dll .so .jar .whl .pdf .doc .docx .xls .xlsx .ppt .pptx .odt .ods .rtf .parquet .npy .npz .pt .pth"
    " .onnx .h5 .db .sqlite .sha256 .md5 .inf .ico .lnk .mp3 .wav .mp4 .avi .mov".split()
)
"""Suffixes of what is surely no scan; some of these are zips inside, and are not looked into."""

_PICTURES = "only PNG and JPEG pictures are read"
_VOLUMES = "only DICOM and NIfTI are read"
_PAIR = f"a header whose voxels lie in another file (.hdr and .img): {_VOLUMES}, with .nii in one file"
_ARCHIVE = "unpack it, or make a zip of it"
UNREAD_SUFFIXES = {
    ".gif": f"a GIF picture: {_PICTURES}",
    ".bmp": f"a BMP picture: {_PICTURES}",
    ".tif": f"a TIFF picture: {_PICTURES}",
    ".tiff": f"a TIFF picture: {_PICTURES}",
    ".webp": f"a WebP picture: {_PICTURES}",
    ".jp2": f"a JPEG 2000 picture: {_PICTURES}",
    ".nrrd": f"an NRRD volume: {_VOLUMES}",
    ".nhdr": f"an NRRD header: {_VOLUMES}",
    ".mha": f"a MetaImage volume: {_VOLUMES}",
    ".mhd": f"a MetaImage header: {_VOLUMES}",
    ".mnc": f"a MINC volume: {_VOLUMES}",
    ".mgz": f"an MGH volume: {_VOLUMES}",
    ".7z": f"a 7-Zip archive: {_ARCHIVE}",
    ".rar": f"a RAR archive: {_ARCHIVE}",
    ".tar": f"a tar archive: {_ARCHIVE}",
    ".tgz": f"a tar archive: {_ARCHIVE}",
    ".bz2": f"a bzip2 file: {_ARCHIVE}",
    ".xz": f"an xz file: {_ARCHIVE}",
    ".zst": f"a Zstandard file: {_ARCHIVE}",
}
"""Suffix → why a file of that kind is a failed row, without a look at it."""

_FURTHER_SUFFIXES = frozenset(".bak .bin .bvec .bval .dat .gz .hdr .img .mat .raw .svg .tmp".split())  # noqa: SIM905

OTHER = "other"
"""What a suffix that is no common file type's is counted as."""

_MAGIC = (
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"\0\0\0\x0cjP  \r\n", ".jp2"),
    (b"NRRD000", ".nrrd"),
    (b"7z\xbc\xaf\x27\x1c", ".7z"),
    (b"Rar!\x1a\x07", ".rar"),
    (b"BZh", ".bz2"),
    (b"\xfd7zXZ\0", ".xz"),
    (b"\x28\xb5\x2f\xfd", ".zst"),
)
_GZIP = b"\x1f\x8b\x08"
_INFLATED = 1024  # bytes of a gzip file's content that are looked at
_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_FIRST_GROUPS = (0x0002, 0x0008)


class Content(NamedTuple):
    """kind: of a file that may be read. reason: why it is none of those but a failed row; of other files neither."""

    kind: str | None = None
    reason: str | None = None


def suffix_of(name: str) -> str:
    """The suffix in lower case, two of them for `.nii.gz`."""
    stem, dot, last = name.rpartition(".")
    if not dot or not stem or "/" in last:
        return ""
    suffix = "." + last.lower()
    return ".nii.gz" if suffix == ".gz" and stem.lower().endswith(".nii") else suffix


def common_suffix(suffix: str) -> str:
    """The suffix where it is that of a common type of file, else OTHER: what follows the last dot of a name may be a
    patient (`CT.DOE^JANE_1957-03-12`), bytes that are no text, or an escape sequence."""
    common = suffix in OTHER_SUFFIXES or suffix in UNREAD_SUFFIXES or suffix in _FURTHER_SUFFIXES
    return suffix if common or suffix in ("", ".zip") else OTHER


def is_dicomdir(name: str) -> bool:
    """True of the name that the standard gives an index (PS3.10, 8.6)."""
    return name.upper() == "DICOMDIR"


def by_content(head: bytes) -> Content:
    """The kind of a file with these first bytes: HEAD of them, or all there are."""
    if head[128:132] == b"DICM":
        return Content(DICOMDIR if b"1.2.840.10008.1.3.10" in head[132:1024] else "dicom")
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return Content("picture")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Content("zip")
    if (nifti := _nifti(head)) is not None:
        return nifti
    if head.startswith(_GZIP):
        return _gzip(head)
    for magic, suffix in _MAGIC:
        if head.startswith(magic) and (suffix != ".bmp" or _is_bitmap(head)):
            return Content(reason=UNREAD_SUFFIXES[suffix])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Content(reason=UNREAD_SUFFIXES[".webp"])
    if head[257:262] == b"ustar":
        return Content(reason=UNREAD_SUFFIXES[".tar"])
    if head.startswith((b"ObjectType = Image", b"NDims = ")):
        return Content(reason=UNREAD_SUFFIXES[".mhd"])
    return Content("dicom") if looks_like_dicom(head) else Content()


def looks_like_dicom(head: bytes) -> bool:
    """Whether a file without preamble starts with two elements of a DICOM data set, in any encoding, in order."""
    for endian in "<>":
        first = _element(head, 0, endian)
        if first is None or first[0] >> 16 not in _FIRST_GROUPS:
            continue
        tag, end = first
        if end == len(head):
            return True
        second = _element(head, end, endian)
        if second is not None and second[0] > tag and second[0] >> 16 <= 0x0020:
            return True
    return False


def _element(head: bytes, at: int, endian: str) -> tuple[int, int] | None:
    """Tag of the element there and where it ends, if it can be one and its value's start is within the head."""
    if at + 8 > len(head):
        return None
    group, number = struct.unpack_from(f"{endian}HH", head, at)
    vr = head[at + 4 : at + 6]
    value = at + 8
    if vr in _LONG_VRS:
        if at + 12 > len(head):
            return None
        (length,) = struct.unpack_from(f"{endian}I", head, at + 8)
        value = at + 12
    elif vr in _VRS:
        (length,) = struct.unpack_from(f"{endian}H", head, at + 6)
    else:
        (length,) = struct.unpack_from(f"{endian}I", head, at + 4)
    return (group << 16 | number, value + length) if value + length <= len(head) else None


def _nifti(head: bytes) -> Content | None:
    """NIfTI 1 and 2 by header size and magic, either byte order; Analyze by its size and its `regular` mark."""
    if len(head) >= 12 and head[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c"):  # 540
        if head[4:7] in (b"n+2", b"ni2"):
            return Content("nifti") if head[4:7] == b"n+2" else Content(reason=_PAIR)
    elif len(head) >= 348 and head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c"):  # 348
        magic = head[344:348]
        if magic == b"n+1\0":
            return Content("nifti")
        if magic == b"ni1\0" or head[38:39] == b"r":
            return Content(reason=_PAIR)
    return None


def _gzip(head: bytes) -> Content:
    try:
        inside = zlib.decompressobj(31).decompress(head, _INFLATED)
    except zlib.error:
        return Content(reason="a damaged gzip file")
    if (nifti := _nifti(inside)) is not None and nifti.kind:
        return nifti
    return Content(reason="a gzip file that holds no NIfTI volume: unpack it")


def _is_bitmap(head: bytes) -> bool:
    """`BM` alone begins many a text: the size of the second header must be one that there is."""
    return len(head) >= 18 and struct.unpack_from("<I", head, 14)[0] in (12, 16, 40, 52, 56, 64, 108, 124)
