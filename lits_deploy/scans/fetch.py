"""Objects and the members of zips in a store, read as whole files; the ranges that are needed and no more.

An object that is no longer the one that was listed is refused: its ETag, as a number, is the version that is asked for.
"""

from __future__ import annotations

import copy
import functools
import io
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from errno import ENOENT
from typing import IO, TYPE_CHECKING
from zipfile import ZipInfo

from lits_deploy.errors import SliceError, StorageError
from lits_deploy.scans.archive import CHANGED, Archive
from lits_deploy.storage import SCHEME

if TYPE_CHECKING:
    from lits_deploy.storage.s3 import ObjectReader

TAIL = 1 << 20
"""Bytes at a zip's end that are fetched at once: the directory of some 10,000 entries."""

_MOST_AT_ONCE = 8 << 20  # bytes that are fetched in one request
_ASKED = 4096  # answers that are remembered: of the slices of a series, many ask for the same object
_ZIPS = 4  # whose directories are kept


class ObjectArchive(Archive):
    """A zip in a store. Its members may be read by several threads at once. Raises as Archive, and StorageError."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader
        self.etag, self.mtime_ns, self.ctime_ns = reader.etag, reader.version, 0
        reader.keep_end(TAIL)
        self._read_directory(io.BufferedReader(reader), reader.size)
        self._starts = sorted({*(info.header_offset for info in self._infos), self._zip.start_dir})

    def _opened(self, info: ZipInfo) -> IO[bytes]:
        end = self._starts[min(bisect_right(self._starts, info.header_offset), len(self._starts) - 1)]
        size = min(max(end - info.header_offset, 1), _MOST_AT_ONCE)
        stream = io.BufferedReader(self._reader.view(), size)
        stream.seek(info.header_offset)
        stream.peek(1)  # here and not below, where zipfile holds its lock
        own = copy.copy(self._zip)
        own.fp = stream
        return own.open(info)


def is_object(path: str) -> bool:
    """Whether a path of a listing is an object's URL."""
    return path.startswith(SCHEME)


def why_not(error: OSError | StorageError) -> str:
    """What a row says of an object that cannot be read."""
    return f"the file cannot be read ({why(error)})"


def why(error: OSError | StorageError) -> str:
    """The same in few words."""
    return error.why if isinstance(error, StorageError) else os.strerror(error.errno or ENOENT).lower()


class Fetch:
    """Reads what was listed. Safe for several threads; keeps the directories of the last zips."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._zips: OrderedDict[tuple[str, int | None], Archive] = OrderedDict()

    def open(self, url: str, member: int | None, version: int | None) -> tuple[int, Iterator[bytes]]:
        """Size and bytes, piece by piece, of an object, or of a member of the zip that it is.

        Raises SliceError, now or on the way, with the reason for the file's row.
        """
        try:
            reader = _reader(url)
            if version not in (None, reader.version):
                raise SliceError("the file has changed since it was listed" if member is None else CHANGED)
            if member is None:
                return reader.size, _checked(_pieces(reader))
            archive = self._archive(url, reader)
            return archive.size(member), _checked(archive.pieces(member))
        except (OSError, StorageError) as error:
            raise SliceError(why_not(error)) from error

    def _archive(self, url: str, reader: ObjectReader) -> Archive:
        key = url, reader.version
        with self._lock:
            if key not in self._zips:
                self._zips[key] = ObjectArchive(reader)  # within the lock: others want the same one
                if len(self._zips) > _ZIPS:
                    self._zips.popitem(last=False)
            self._zips.move_to_end(key)
            return self._zips[key]


@functools.lru_cache(_ASKED)
def is_there(url: str) -> bool:
    """Whether there is an object, as it was when that was first asked. Raises StorageError."""
    from lits_deploy.storage.s3 import object_at

    store, name = object_at(url)
    return store.exists(name)


def version_at(url: str) -> int | None:
    """The version of an object now; None where there is none. Raises StorageError."""
    try:
        return _reader(url).version
    except FileNotFoundError:
        return None


def _reader(url: str) -> ObjectReader:
    from lits_deploy.storage.s3 import object_at

    store, name = object_at(url)
    return store.reader(name)


def _pieces(reader: ObjectReader) -> Iterator[bytes]:
    at = 0
    while piece := reader.read_at(at, _MOST_AT_ONCE):
        at += len(piece)
        yield piece


def _checked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except (OSError, StorageError) as error:
        raise SliceError(why_not(error)) from error
