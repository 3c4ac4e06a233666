"""Content in memory that nobody can change any more, and that libraries can load by a path: a sealed memfd.

A library that is given bytes copies them before it parses them; one that is given a path does not, and the path of a
memfd leads to what was hashed, whatever lies on the disk meanwhile. Where the system has none, content is bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

_BLOCK = 1 << 20


class Sealed:
    """A sealed memfd and a view of it. Takes the descriptor over; `close` it, or leave it to the last reference.

    size: bytes; view: the content, read-only, until `close`.
    """

    _handle = -1

    def __init__(self, handle: int) -> None:
        self.size = os.fstat(handle).st_size
        # Private, for Linux before 6.7 maps nothing shared that is sealed; what is never written is never copied.
        self.view = mmap.mmap(handle, self.size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        self._handle = handle

    @property
    def path(self) -> str:
        """Leads to the content, in this process, until `close`; ValueError after it, when it may lead elsewhere."""
        if self._handle < 0:
            raise ValueError("closed")
        return f"/proc/self/fd/{self._handle}"

    def blocks(self) -> Iterator[bytes]:
        """The content in pieces of 1 MiB, which count to this process's memory one at a time."""
        return _blocks(self._handle)

    def give_back(self) -> None:
        """Let what was read of the view count to this process's memory no longer."""
        self.view.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Free the memory; where something still reads the view, as soon as that is gone."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)
            with suppress(BufferError):
                self.view.close()

    def __del__(self) -> None:
        self.close()


def sealed(name: str, pieces: Iterable[bytes]) -> Sealed | bytes:
    """Take pieces into memory, for good. name: shown in /proc. Bytes where this system seals nothing, or none came."""
    try:
        handle = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except (AttributeError, OSError):  # built without it, or forbidden
        return b"".join(pieces)
    try:
        left = iter(pieces)
        rest = next((after for piece in left if (after := _write(handle, piece))), b"")
        if not rest and (content := _seal(handle)):
            handle = -1
            return content
        return b"".join([*_blocks(handle), rest, *left])
    finally:
        if handle >= 0:
            os.close(handle)


def sha256(content: Sealed | bytes) -> str:
    """Hex SHA-256 of what `sealed` returned."""
    digest = hashlib.sha256()
    for block in (content,) if isinstance(content, bytes) else content.blocks():
        digest.update(block)
    return digest.hexdigest()


def _write(handle: int, piece: bytes) -> bytes:
    """Append a piece; what could not be written, as where a limit on files (`ulimit -f`) counts memory, too."""
    while piece:
        try:
            piece = piece[os.write(handle, piece) :]
        except OSError:
            return piece
    return b""


def _seal(handle: int) -> Sealed | None:
    """The content, which nobody can change now, through no descriptor; None where that, or a path, is not to be had."""
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    try:
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
        os.close(os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC))
        return Sealed(handle)
    except (OSError, ValueError):  # ValueError: of nothing there is no view
        return None


def _blocks(handle: int) -> Iterator[bytes]:
    at = 0
    while block := os.pread(handle, _BLOCK, at):
        yield block
        at += len(block)
