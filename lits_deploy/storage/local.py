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

from lits_deploy import private
from lits_deploy.errors import OutputError, StorageError
from lits_deploy.locks import take_lock
from lits_deploy.storage.base import FolderEntry, Stat, Store, checked, new_file

LOCK = ".lits-deploy.lock"


class LocalStore(Store):
    """Files of a folder, made with the modes that hold here (`private.private`), else as the umask decides."""

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder
        self.location = str(folder)

    def read(self, name: str) -> bytes:
        """See Store."""
        with self._allowed():
            return self._there(name).read_bytes()

    def open(self, name: str) -> BinaryIO:
        """See Store."""
        with self._allowed():
            return self._there(name).open("rb")

    def write(self, name: str, data: bytes) -> None:
        """See Store."""
        with self._part(name) as part:
            part.write_bytes(data)

    def put(self, name: str, path: Path) -> None:
        """See Store."""
        with self._part(name) as part:
            shutil.copyfile(path, part)

    def get(self, name: str, path: Path) -> None:
        """See Store."""
        with self.open(name) as source, new_file(path) as target:
            shutil.copyfileobj(source, target, 1 << 20)

    def remove(self, name: str) -> None:
        """See Store."""
        self._there(name).unlink(missing_ok=True)

    def stat(self, name: str) -> Stat | None:
        """See Store."""
        try:
            with self._allowed():
                status = self._there(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stat(status.st_size, None, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None

    def entries(self, folder: str = "") -> Iterator[FolderEntry]:
        """See Store."""
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

    @contextlib.contextmanager
    def lock(self, busy: str) -> Iterator[None]:
        """See Store. A folder that had to be made and holds nothing else in the end is taken away again."""
        made = not self.folder.exists()
        try:
            private.make_folder(self.folder)
            descriptor = take_lock(self.folder / LOCK)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written ({error.strerror}).", fix="--out elsewhere") from error
        if descriptor is None:
            raise OutputError(busy, fix="wait for it")
        try:
            yield
        finally:
            if made and [path.name for path in self.folder.iterdir()] == [LOCK]:
                (self.folder / LOCK).unlink()
                self.folder.rmdir()
            os.close(descriptor)

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

    @contextlib.contextmanager
    def _part(self, name: str) -> Iterator[Path]:
        path = self._there(name)
        access = private.current()
        if access is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            private.make_folder(path.parent, access)
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")  # a process id is of one node alone
        try:
            if access is not None:
                os.close(private.create(part))
            yield part
            with part.open("rb+") as stream:
                if access is not None:
                    private.set_mode(stream.fileno(), access.file)
                os.fsync(stream.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
