"""A folder of this machine as a store."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lits_deploy.errors import OutputError, StorageError
from lits_deploy.files import atomic_path
from lits_deploy.locks import folder_held
from lits_deploy.storage.base import FolderEntry, Stat, Store, checked, new_file

LOCK = ".lits-deploy.lock"


class LocalStore(Store):
    """Files of a folder, made with the modes that hold here (`private.private`), else as the umask decides."""

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder
        self.location = str(folder)

    def read(self, name: str) -> bytes:
        with self._allowed():
            return self._there(name).read_bytes()

    def open(self, name: str) -> BinaryIO:
        with self._allowed():
            return self._there(name).open("rb")

    def write(self, name: str, data: bytes) -> None:
        with self._part(name) as part:
            part.write_bytes(data)

    def put(self, name: str, path: Path) -> None:
        with self._part(name) as part:
            shutil.copyfile(path, part)

    def get(self, name: str, path: Path) -> None:
        with self.open(name) as source, new_file(path) as target:
            shutil.copyfileobj(source, target, 1 << 20)

    def remove(self, name: str) -> None:
        self._there(name).unlink(missing_ok=True)

    def stat(self, name: str) -> Stat | None:
        try:
            with self._allowed():
                status = self._there(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stat(status.st_size, None, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None

    def entries(self, folder: str = "") -> Iterator[FolderEntry]:
        try:
            with self._allowed():
                found = os.scandir(self._there(folder) if folder else self.folder)
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args) from error
        with found:
            for entry in found:
                try:
                    folder_there = entry.is_dir()
                    size = 0 if folder_there else entry.stat().st_size
                except FileNotFoundError:  # gone since, as another's temporary file is, or a link to nothing
                    continue
                yield FolderEntry(entry.name, folder_there, size)

    def lock(self, busy: str) -> contextlib.AbstractContextManager[None]:
        """See Store. A folder that had to be made and holds nothing else in the end is taken away again."""
        return folder_held(self.folder, LOCK, OutputError(busy, fix="wait for it"))

    @contextlib.contextmanager
    def _allowed(self) -> Iterator[None]:
        """Within, what this user may not read is StorageError, as in a bucket: it is neither damaged nor a bug."""
        try:
            yield
        except PermissionError as error:
            raise StorageError(
                f"{self.location} cannot be read by this user (permission denied).",
                fix="run it as the user whom the folder belongs to, or have that one give you rights",
                why="permission denied",
            ) from error

    def _there(self, name: str) -> Path:
        return self.folder / checked(name)

    def _part(self, name: str) -> contextlib.AbstractContextManager[Path]:
        return atomic_path(self._there(name), secrets.token_hex(8))  # a process id is of one node alone
