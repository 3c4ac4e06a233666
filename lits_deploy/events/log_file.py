"""A file of lines, appended one at a time and never followed over a link; begun anew where it was moved away."""

from __future__ import annotations

import io
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from lits_deploy.errors import OutputError

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LogFile(logging.Handler):
    """Appends a line per event; made for its owner alone (0600).

    Each line is one write, so that two commands may share a file. Raises OutputError where it cannot be opened. What
    cannot be written later is lost, and the command goes on.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path.absolute()
        try:
            self._file = self._opened()
        except OSError as error:
            raise OutputError(
                f"The log {path} cannot be written ({error.strerror}).", fix="name a plain file in a folder that exists"
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        """Write its line."""
        with suppress(OSError):
            if self._moved():
                self._file.close()
                self._file = self._opened()
            self._file.write(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _opened(self) -> io.FileIO:
        handle = os.open(self._path, _FLAGS, 0o600)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(0, "not a plain file")
        return io.FileIO(handle, "ab")

    def _moved(self) -> bool:
        """Whether the path no longer leads to the open file: a program that rotates logs was here."""
        try:
            return self._file.closed or not os.path.samestat(os.fstat(self._file.fileno()), self._path.lstat())
        except FileNotFoundError:
            return True
