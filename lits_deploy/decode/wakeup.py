"""A way to wake a thread that waits on descriptors, from another thread or a signal handler."""

from __future__ import annotations

import socket
from contextlib import suppress


class Wakeup:
    """Wait on `fileno()`; `wake()` makes it readable, `drain()` quiet again.

    A pair of sockets, not of plain descriptors: after `close`, a late `wake` is lost and hits no stranger's file.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._reader.fileno()

    def wake(self) -> None:
        """Make the descriptor readable; once is enough, more do no harm."""
        with suppress(OSError):  # full: awake already; closed: nobody waits
            self._writer.send(b"!")

    def drain(self) -> None:
        """Take what `wake` wrote."""
        with suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()
