"""What can hurt in a zip, refused before anything is inflated, for scans and bundles alike.

A zip is known from its central directory alone: too many entries, entries that share bytes (a small bomb that inflates
many times), encryption, methods other than stored and deflate, and what shrank as no scan or bundle does.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from typing import BinaryIO

from lits_deploy.errors import SliceError, StorageError

MOST_ENTRIES = 100_000
MOST_DIRECTORY = 64 << 20
"""Bytes of a central directory: 100,000 entries with names of 600 bytes."""

SMALL = 1 << 20
"""Bytes up to which an entry may inflate any number of times."""

ENCRYPTED = "it is encrypted: unpack it"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_END, _END64, _LOCATOR, _ENTRY = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02"
_HEADER = 30
"""Bytes of an entry's header without its name."""


def doubt(info: zipfile.ZipInfo, most_ratio: int) -> str | None:
    """Why an entry is not to be read; most_ratio: how many times one of more than SMALL bytes may inflate."""
    if info.flag_bits & 1:
        return ENCRYPTED
    if info.compress_type not in _METHODS:
        return f"its compression, method {info.compress_type}, is not read: only stored and deflated files are"
    if info.file_size > SMALL and info.file_size > most_ratio * info.compress_size:
        return f"it claims to inflate more than {most_ratio} times: a zip bomb?"
    return None


def overlapping(infos: Sequence[zipfile.ZipInfo], directory: int) -> zipfile.ZipInfo | None:
    """An entry that shares bytes with what follows it, as in a bomb that inflates one kernel many times.

    directory: where the central directory starts.
    """
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [*(info.header_offset for info in ordered[1:]), directory]  # one too many for an empty zip
    for info, end in zip(ordered, ends, strict=False):
        name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437", errors="replace")
        if info.header_offset + _HEADER + len(name) + info.compress_size > end:
            return info
    return None


def opened(stream: BinaryIO, size: int) -> zipfile.ZipFile:
    """The zip, once its directory is known to be small: zipfile keeps an object for every entry."""
    start, length = _directory(stream, size)
    if length > MOST_DIRECTORY:
        raise SliceError(f"a directory of {length >> 20} MiB: a zip bomb?")
    if _count(stream, start, length) > MOST_ENTRIES:
        raise SliceError(f"more than {MOST_ENTRIES:,} files in one zip: unpack it")
    try:
        return zipfile.ZipFile(stream)
    except (MemoryError, OSError, StorageError):
        raise
    except UnicodeDecodeError as error:
        raise SliceError("a name in the zip is marked as UTF-8 and is not: unpack it") from error
    except Exception as error:
        raise SliceError("the zip is damaged") from error


def _directory(stream: BinaryIO, size: int) -> tuple[int, int]:
    """Where the central directory starts, and its length, by the record at the end of the file (APPNOTE 4.3.16)."""
    tail_start = max(0, size - (1 << 16) - 22)
    stream.seek(tail_start)
    tail = stream.read((1 << 16) + 22)
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        raise SliceError("the zip is truncated or damaged")
    (length,) = struct.unpack_from("<I", tail, at + 12)
    end = tail_start + at
    stream.seek(max(0, end - 20))
    locator = stream.read(20)
    if locator[:4] == _LOCATOR:
        stream.seek(max(0, end - 76))  # where zipfile looks, too, whatever the locator says
        record = stream.read(56)
        if record[:4] == _END64 and len(record) == 56:
            (length,) = struct.unpack_from("<Q", record, 40)
            end -= 76
    return max(0, end - length), length


def _count(stream: BinaryIO, start: int, length: int) -> int:
    """Entries of a central directory, counted and not believed."""
    stream.seek(start)
    directory, at, count = stream.read(length), 0, 0
    while directory[at : at + 4] == _ENTRY and at + 46 <= len(directory) and count <= MOST_ENTRIES:
        at += 46 + sum(struct.unpack_from("<HHH", directory, at + 28))
        count += 1
    return count
