"""Files of one slice, decoded whole, and the last few of them cached: each is its neighbours' neighbour.

Runs in the decode workers, and is as light. A file that cannot be used is an answer, too; only a lack of memory is not.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.scans import READING, Frame, Reader, Reading, SeriesHeader, Slice
from lits_deploy.scans.containment import Within, open_scan

CACHE_SIZE = 8
"""Least files, 64 KB each, in a worker's cache: enough for the channels of a slice, and for files a little astray."""


@dataclass(frozen=True, kw_only=True)
class OneSlice:
    """What became of a file: as much as is known of it, and its frame, or why there is none (`failed`)."""

    sha256: str | None = None
    series: dict[str, Any] | None = None
    window: str = ""
    frame: Frame | None = None
    failed: str | None = None

    @property
    def pixels(self) -> Slice | None:
        """Uint8 [1, S, S]; None if it failed or is excluded."""
        return None if self.frame is None else self.frame.pixels


class FileCache:
    """The last `most` files, by source; the one that was not asked for longest goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._files: OrderedDict[tuple[Any, ...], OneSlice] = OrderedDict()

    def get(self, source: Mapping[str, Any], decode: Callable[[], OneSlice]) -> OneSlice:
        """The file of a source (`path`, `member`, `mtime_ns`), decoded now if it is not at hand."""
        key = source["path"], source.get("member"), source.get("mtime_ns")
        if key not in self._files:
            self._files[key] = decode()
            if len(self._files) > self._most:
                self._files.popitem(last=False)
        self._files.move_to_end(key)
        return self._files[key]


def decode_one(
    source: Mapping[str, Any],
    reader: Reader,
    contract: InputContract,
    *,
    reading: Reading = READING,
    within: Within = None,
) -> OneSlice:
    """Read and decode a file of one slice. contract: of one channel. Raises MemoryError, nothing else."""
    sha256 = series = None
    try:
        data = bytes_of(source, reader.MAX_BYTES, within)
        sha256 = hashlib.sha256(data).hexdigest()
        scan = reader.read(data, contract, reading=reading)
        del data
        series = plain(scan.series)
        frames = list(islice(scan.frames, 2))
        if len(frames) != 1:  # its header said one a moment ago
            raise SliceError("the file holds no slice" if not frames else "the file has changed since it was looked at")
        check(frames[0].pixels, contract)
    except MemoryError:
        raise
    except Exception as error:
        series = series or (plain(error.series) if isinstance(error, SliceError) else None)
        return OneSlice(sha256=sha256, series=series, failed=reason_of(error))
    return OneSlice(sha256=sha256, series=series, window=scan.window, frame=frames[0])


def check(pixels: Slice | None, contract: InputContract) -> None:
    """Raise TypeError where a reader gave something else than it was asked for."""
    if pixels is not None and (pixels.shape != contract.shape or pixels.dtype.name != "uint8"):
        raise TypeError(f"the reader gave {pixels.dtype} {pixels.shape}, not uint8 {contract.shape}")


def reason_of(error: Exception) -> str:
    """What a row says of a file that raised this."""
    if isinstance(error, SliceError):
        return str(error)
    if isinstance(error, OSError):
        return f"the file cannot be read ({os.strerror(error.errno).lower() if error.errno else 'I/O'})"
    return f"the decoder failed ({type(error).__name__})"  # a reader's bug; its message may quote the file


def plain(series: SeriesHeader | None) -> dict[str, Any] | None:
    """A series as a message says it."""
    return None if series is None else series.to_json()


def bytes_of(source: Mapping[str, Any], most: int, within: Within = None) -> bytes:
    """The bytes of a source's file, or of its member of a zip; SliceError if there are more than `most`, or if it lies
    elsewhere than `within`."""
    path = os.fsencode(source["path"])
    if source.get("member") is None:
        return _read_file(path, most, within)
    from lits_deploy.scans.archive import read_member

    return read_member(path, source["member"], most, mtime_ns=source["mtime_ns"], within=within)


def _read_file(path: bytes, most: int, within: Within) -> bytes:
    fd, status = open_scan(path, within)
    with os.fdopen(fd, "rb", buffering=0) as stream:
        if status.st_size > most:
            raise SliceError(f"{status.st_size / 2**20:.0f} MiB: larger than any slice")
        return stream.readall()
