"""Files that are whole or absent: atomic writes, hashes, canonical JSON."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lits_deploy import private
from lits_deploy.printable import printable, printable_json

_BLOCK = 1 << 20
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)  # made once


def sha256_bytes(data: bytes | memoryview) -> str:
    """Hex SHA-256 of bytes in memory."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def open_regular(path: Path, most: int) -> io.FileIO:
    """Open a plain file for reading, unbuffered.

    Raises OSError for a link, pipe, socket or device (ELOOP, EINVAL; none is waited for) and for more than `most` bytes
    (EFBIG).
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"{status.st_size:,} bytes, {most:,} at most", str(path))
        return io.FileIO(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a plain file, read once. Raises what `open_regular` does, also where it grows past `most`."""
    with open_regular(path, most) as stream:
        pieces: list[bytes] = []
        room = min(os.fstat(stream.fileno()).st_size, most) + 1  # one more: to see that it ended
        while room and (piece := stream.read(room)):
            pieces.append(piece)
            room = max(0, room - len(piece))
        if not room:
            raise OSError(errno.EFBIG, "it grew while it was read", str(path))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def regular_blocks(path: Path, most: int) -> Iterator[bytes]:
    """A plain file in pieces of 1 MiB, read once. Raises what `read_regular` does."""
    with open_regular(path, most) as stream:
        while block := stream.read(_BLOCK):
            most -= len(block)
            if most < 0:
                raise OSError(errno.EFBIG, "it grew while it was read", str(path))
            yield block


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, so it can be hashed."""
    return _CANONICAL.encode(value)


@contextmanager
def atomic_path(path: Path, mark: str | None = None) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends without an error.

    mark: in its name, in place of this process's number. The data is flushed to disk before the rename, so after a
    power cut the file is the old one or the new one.
    Within `private.private` the temporary file is there already, made for its owner alone: open it, do not replace it.
    """
    access = private.current()
    if access is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        private.make_folder(path.parent, access)
    temporary = path.with_name(f".{path.name}.{mark or os.getpid()}.tmp")
    try:
        if access is not None:
            temporary.unlink(missing_ok=True)  # of a killed process with our number
            os.close(private.create(temporary))
        yield temporary
        with temporary.open("rb+") as stream:
            if access is not None:
                private.set_mode(stream.fileno(), access.file)
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, newlines as they are."""
    write_bytes(path, text.encode())


def write_printable(path: Path, text: str) -> None:
    """Write text for people to read, atomically: every line printable."""
    write_text(path, printable(text, multiline=True))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys, atomically."""
    write_text(path, printable_json(value, sort_keys=True, allow_nan=False) + "\n")
