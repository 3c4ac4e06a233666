"""Zips as folders: what is in one, and one member's bytes; nothing is ever unpacked to disk.

What could hurt is refused before it is inflated (`zip_guard`). A member's name is a label and never a place: `..`,
leading slashes and control characters are escaped, so that no row's path can look outside its zip.
Knows nothing about what the members are.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, BinaryIO, NamedTuple

from lits_deploy import zip_guard
from lits_deploy.errors import SliceError, StorageError
from lits_deploy.scans.containment import Within, open_scan
from lits_deploy.scans.paths import escape

MOST_MEMBER = 1 << 30
MOST_RATIO = 500
"""How many times a large member may inflate: CT slices 2 to 3, label volumes up to about 400."""

CHANGED = "the zip has changed since it was listed"
_CHUNK = 1 << 20
_SKIPPED = "__MACOSX"  # resource forks; all other hidden names start with a dot


class ZipMember(NamedTuple):
    """number: its place in the directory. label: its name as a printable path. size: unpacked. reason: why unusable."""

    number: int
    label: str
    size: int
    reason: str | None


class Archive:
    """An open zip. within: where it has to lie (`scans.containment`). etag: of an object (`objects.ObjectArchive`).

    Raises SliceError, with the reason for one failed row, for a zip that is broken, a bomb, or elsewhere.
    """

    etag: str | None = None

    def __init__(self, path: str | bytes, within: Within = None) -> None:
        fd, status = open_scan(path, within)
        self.identity, self.mtime_ns, self.ctime_ns = identity(status), status.st_mtime_ns, status.st_ctime_ns
        self._read_directory(os.fdopen(fd, "rb"), status.st_size)

    def _read_directory(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        try:
            self._zip = zip_guard.opened(stream, size)
            self._infos = self._zip.infolist()
            if zip_guard.overlapping(self._infos, self._zip.start_dir):
                raise SliceError("its entries overlap: a zip bomb?")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def members(self) -> Iterator[ZipMember]:
        """All files in it but hidden ones; of several with one name the first, as a failure."""
        names = Counter(info.filename for info in self._infos)
        seen = set()
        for number, info in enumerate(self._infos):
            parts = PurePosixPath(info.filename).parts
            hidden = any((part.startswith(".") and part != "..") or part == _SKIPPED for part in parts)
            if info.filename.endswith("/") or hidden or info.filename in seen:
                continue
            reason = _doubt(info)
            if names[info.filename] > 1:
                seen.add(info.filename)
                reason = f"{names[info.filename]} files of this name in the zip"
            yield ZipMember(number, label(info.filename), info.file_size, reason)

    def head(self, number: int, most: int) -> bytes:
        """The first bytes of a member. Raises SliceError."""
        return b"".join(self._chunks(self._infos[number], most))

    def read(self, number: int, most: int) -> bytes:
        """A member's bytes, its checksum proven. Raises SliceError where it is larger than `most` or damaged."""
        size = self.size(number)
        if size > most:
            raise SliceError(f"{size / 2**20:.0f} MiB: larger than any slice")
        whole = io.BytesIO()  # gives up its buffer without a copy
        for chunk in self.pieces(number):
            whole.write(chunk)
        return whole.getvalue()

    def size(self, number: int) -> int:
        """A member's size. Raises SliceError where there is none, or not one that may be read."""
        if not 0 <= number < len(self._infos):
            raise SliceError(CHANGED)
        info = self._infos[number]
        if (reason := _doubt(info)) is not None:
            raise SliceError(reason)
        return info.file_size

    def pieces(self, number: int) -> Iterator[bytes]:
        """A member's bytes piece by piece, its checksum proven at the end. Raises SliceError where it is damaged."""
        info, count = self._infos[number], 0
        for chunk in self._chunks(info, info.file_size + 1):
            count += len(chunk)
            yield chunk
        if count != info.file_size:
            raise SliceError("the zip is damaged: this file in it is truncated")

    def sha256(self, number: int) -> str:
        """Hex SHA-256 of a member's bytes, which memory never holds at once. Raises SliceError."""
        self.size(number)  # whether it may be read
        digest = hashlib.sha256()
        for chunk in self.pieces(number):
            digest.update(chunk)
        return digest.hexdigest()

    def _chunks(self, info: zipfile.ZipInfo, most: int) -> Iterator[bytes]:
        try:
            with self._opened(info) as member:
                while most > 0 and (chunk := member.read(min(_CHUNK, most))):
                    most -= len(chunk)
                    yield chunk
        except (MemoryError, OSError, StorageError):
            raise
        except Exception as error:  # zipfile raises nearly anything on hostile bytes
            raise SliceError("the zip is damaged: this file in it cannot be unpacked") from error

    def _opened(self, info: zipfile.ZipInfo) -> IO[bytes]:
        return self._zip.open(info)


_last: tuple[bytes, Archive] | None = None


def read_member(path: bytes, member: int, most: int, *, mtime_ns: int | None = None, within: Within = None) -> bytes:
    """The bytes of a zip's member, its checksum proven.

    path: the zip's; member: the number that `Archive.members` gave; most: bytes that are accepted. mtime_ns: of the
    zip when it was listed; if given, another one is a failure, because the number may stand for another file now.
    The last zip stays open, one for this process, and is opened anew when the file has changed. Raises SliceError,
    OSError.
    """
    archive = last_opened(path, within)
    if mtime_ns is not None and archive.mtime_ns != mtime_ns:
        raise SliceError(CHANGED)
    return archive.read(member, most)


def last_opened(path: bytes, within: Within = None) -> Archive:
    """The zip at that path: the last one that was opened, unless it has changed, or opened now. Raises as Archive."""
    global _last
    if _last is None or _last[0] != path or _last[1].identity != identity(os.stat(path)):  # noqa: PTH116
        close_last()
        _last = (path, Archive(path, within))
    return _last[1]


def close_last() -> None:
    """Close the zip that `read_member` keeps open."""
    global _last
    if _last is not None:
        _last[1].close()
        _last = None


def identity(status: os.stat_result) -> tuple[int, int, int, int, int]:
    """What tells a file from another, or from itself after a change."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def label(name: str) -> str:
    """A member's name as a printable relative path that stays below its zip, unique for each name."""
    parts = escape(name).split("/")
    return "/".join(part.replace(".", "\\x2e") if part in ("..", ".") else part or "\\x2f" for part in parts)


def _doubt(info: zipfile.ZipInfo) -> str | None:
    if info.file_size > MOST_MEMBER:
        return f"{info.file_size / 2**20:.0f} MiB: larger than any scan"
    return zip_guard.doubt(info, MOST_RATIO)
