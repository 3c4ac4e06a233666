"""Part of a bucket as a store, through pyarrow's file system.

An upload appears when it is complete. pyarrow completes one that Python leaves half-way, be it by an exception or by
Ctrl-C: so it runs in a thread that no signal interrupts, and a stream that is left is never closed.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import hashlib
import io
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from lits_deploy.errors import StorageError, UserError
from lits_deploy.storage.base import FolderEntry, Stat, Store, checked, new_file
from lits_deploy.storage.failures import ATTEMPTS, retried
from lits_deploy.storage.location import SCHEME, Location

_BLOCK = 1 << 20
_PART, _PARTS = 10 << 20, 6
"""Bytes of a part of an upload, which pyarrow sends as they come, and how many are on their way."""
LIBRARY_ATTEMPTS = 5
"""How often the AWS library asks by itself in what takes many requests: each page of a listing, each part of an upload.
What is one request is asked again here alone (`failures`), which waits less."""

_CONNECT_S, _SILENCE_S = 5.0, 20.0
"""Longest wait for a connection, and for the next byte."""


class S3Store(Store):
    """Objects below a key, or all of a bucket. Safe to use from several threads."""

    def __init__(self, where: Location, endpoint: str | None = None) -> None:
        """Raises StorageError where pyarrow was built without S3, UserError for an endpoint that is no URL."""
        self.location = str(where)
        self._bucket = f"s3://{where.bucket}"
        self._root = f"{where.bucket}/{where.key}".rstrip("/")
        endpoint = endpoint or named_endpoint()
        self._reads = _file_system(endpoint, where.bucket, 1)
        self._s3 = _file_system(endpoint, where.bucket, LIBRARY_ATTEMPTS)
        self._reached = False

    def read(self, name: str) -> bytes:
        with self.reader(name) as source:
            return source.readall()

    def open(self, name: str) -> BinaryIO:
        """See Store. Gives an `ObjectReader`, buffered."""
        return io.BufferedReader(self.reader(name), _BLOCK)

    def reader(self, name: str = "") -> ObjectReader:
        """An object to read ranges of ("": the location itself); its size and ETag are known."""
        path = self._key(name)
        return ObjectReader(self._asked("cannot be read", lambda: self._reads.open_input_file(path)), self._asked)

    def write(self, name: str, data: bytes) -> None:
        self._upload(name, data)

    def put(self, name: str, path: Path) -> None:
        with path.open("rb") as source:
            empty = not os.fstat(source.fileno()).st_size
            data = b"" if empty else mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
        self._upload(name, data)  # the map ends with its last user, who may be the thread that Ctrl-C leaves at work

    def get(self, name: str, path: Path) -> None:
        with self.reader(name) as source, new_file(path) as target:
            at = 0
            while at < source.size:
                block = source.read_at(at, 8 * _BLOCK)
                target.write(block)
                at += len(block)

    def remove(self, name: str) -> None:
        path = self._key(name)
        with suppress(FileNotFoundError):
            self._asked("cannot be written", lambda: self._s3.delete_file(path), attempts=2)

    def stat(self, name: str) -> Stat | None:
        try:
            with self.reader(name) as source:
                return Stat(source.size, source.etag, source.version)
        except FileNotFoundError:
            return None

    def entries(self, folder: str = "") -> Iterator[FolderEntry]:
        """See Store. The store is asked by the page; what is in one folder is in memory at once.

        Keys with an empty part (`scans//a.png`) are no paths: the folder that they would lie in has the name "".
        """
        from pyarrow.fs import FileSelector, FileType

        path = self._key(folder)
        for info in self._asked("cannot be listed", lambda: self._s3.get_file_info(FileSelector(path)), attempts=2):
            is_folder, name = info.type == FileType.Directory, info.path[len(path) + 1 :]
            yield FolderEntry("" if name.endswith("/") else name, is_folder, 0 if is_folder else info.size)

    def kind(self, name: str = "") -> str | None:
        """`file` or `folder`: what has that name; None where nothing is there. StorageError: nor its bucket."""
        from pyarrow.fs import FileType

        def kind_of(path: str) -> Any:
            return self._asked("cannot be read", lambda: self._reads.get_file_info(path)).type

        found = kind_of(self._key(name))
        if found == FileType.NotFound and kind_of(self._root.partition("/")[0]) == FileType.NotFound:
            raise StorageError(
                f"There is no bucket {self._bucket}.",
                fix="check its name, and --endpoint",
                why="there is no such bucket",
            )
        return {FileType.File: "file", FileType.Directory: "folder"}.get(found)

    def lock(self, busy: str) -> AbstractContextManager[None]:
        """See Store: an object store has none."""
        return nullcontext()

    def _key(self, name: str) -> str:
        return f"{self._root}/{checked(name)}" if name else self._root

    def _asked(self, what: str, ask: Callable[[], Any], *, attempts: int = ATTEMPTS) -> Any:
        found = retried(f"{self._bucket} {what}", ask, attempts=attempts, reached=self._reached)
        self._reached = True
        return found

    def _upload(self, name: str, data: bytes | mmap.mmap) -> None:
        path, failed = self._key(name), list[BaseException]()

        def run() -> None:
            try:
                self._asked("cannot be written", lambda: self._send(path, data), attempts=2)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, name="upload", daemon=True)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]

    def _send(self, path: str, data: bytes | mmap.mmap) -> None:
        """Upload these bytes; OSError where a part of them is not taken, and there is no object then."""
        whole = memoryview(data)
        stream = self._s3.open_output_stream(path)
        try:
            for start in range(0, len(whole), _PART):
                stream.write(whole[start : start + _PART])  # sent while the next ones are
                if start % (_PARTS * _PART) == 0:
                    stream.flush()  # waits for them: each is copied
            stream.close()
        except OSError:  # the stream knows, and does not complete what lacks a part
            raise
        except BaseException:  # closed, or collected, it would complete what there is
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))
            raise


class ObjectReader(io.RawIOBase):
    """An open object: ranges of it, asked for again where they do not come. Safe to use from several threads by
    `read_at`.

    size: bytes; etag: without quotes, or of a store that has none its time of change.
    """

    def __init__(self, handle: Any, ask: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._handle, self._ask, self._at = handle, ask, 0
        self._end, self._end_from = b"", 0
        metadata = {str(key).lower(): value for key, value in handle.metadata().items()}
        self.size: int = handle.size()
        self.etag = (metadata.get("etag") or metadata.get("last-modified") or b"").decode().strip('"')

    @property
    def version(self) -> int:
        """The ETag's number."""
        return version_of(self.etag)

    def read_at(self, start: int, length: int) -> bytes:
        """The bytes of a range, fewer only at the end of the object."""
        length = max(0, min(length, self.size - start))
        if not length:
            return b""
        if self._end and start >= self._end_from:
            return self._end[start - self._end_from :][:length]

        def read() -> bytes:
            found: bytes = self._handle.read_at(length, start)
            if len(found) != length:
                raise OSError("fewer bytes than were announced")
            return found

        whole: bytes = self._ask("cannot be read", read)
        return whole

    def keep_end(self, length: int) -> None:
        """Fetch the last bytes and keep them: what is read there is asked for no more."""
        start = max(0, self.size - length)
        self._end, self._end_from = self.read_at(start, length), start

    def view(self) -> ObjectReader:
        """The same object with a position of its own."""
        return copy.copy(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As any file."""
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence])
        return self._at

    def readall(self) -> bytes:
        """The rest, in one request; io's own would ask for 8 KiB at a time."""
        found = self.read_at(self._at, self.size)
        self._at += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        """As any file."""
        found = self.read_at(self._at, len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def version_of(etag: str) -> int:
    """A whole number of 63 bits for an ETag, which stands where a file has its mtime."""
    return int.from_bytes(hashlib.sha256(etag.encode()).digest()[:8], "big") >> 1


def named_endpoint() -> str | None:
    """The URL of the object store that the environment names, as the AWS libraries read it; None: Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


@functools.cache
def _file_system(endpoint: str | None, bucket: str, attempts: int) -> Any:
    """pyarrow's file system; one for all of a bucket."""
    try:
        from pyarrow import fs
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem
    except ImportError as error:
        raise StorageError(
            "This pyarrow cannot read object stores.",
            fix="pip install --upgrade pyarrow, from a wheel",
            why="pyarrow cannot read it",
        ) from error
    address = urlsplit(endpoint) if endpoint else None
    if address is not None:
        odd = address.username or address.path.strip("/") or address.query or address.fragment
        if odd or address.scheme not in ("http", "https") or not address.hostname:  # not quoted: it may hold a secret
            raise UserError(
                "An --endpoint is a URL of a host, without credentials.", fix="--endpoint https://HOST:PORT"
            )
    region = None
    if address is None and not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        with suppress(OSError):  # then it is as the AWS libraries find it
            region = fs.resolve_s3_region(bucket)
    return S3FileSystem(
        endpoint_override=address and address.netloc,
        scheme=address.scheme if address else "https",
        region=region,
        connect_timeout=_CONNECT_S,
        request_timeout=_SILENCE_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=attempts),
        # Without these a part that failed would not keep a stream from being completed (seen with pyarrow 26).
        background_writes=True,
    )


def object_at(url: str) -> tuple[S3Store, str]:
    """The store of an object's bucket, one for all of it, and the object's name there.

    url: `s3://bucket/key`, as listings give it: nothing of the key is decoded.
    """
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    return _bucket(bucket, named_endpoint()), key


@functools.cache
def _bucket(name: str, endpoint: str | None) -> S3Store:
    return S3Store(Location(bucket=name), endpoint)
