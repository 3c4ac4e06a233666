"""What is asked of a place that files lie in, be it a folder or part of a bucket.

Names are relative to the location, with `/`. What is written appears in one step, whole or not at all.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_NO_NAME = re.compile(r"(^|/)(\.{0,2})(/|$)")


@dataclass(frozen=True)
class FolderEntry:
    """What lies directly in a folder. name: its own, without the folder's; size: bytes, 0 of a folder."""

    name: str
    is_folder: bool
    size: int = 0


@dataclass(frozen=True)
class Stat:
    """size: bytes. etag: of an object, as the store gives it (without quotes); None for a file. version: another one
    means other content: the ETag's number, or a file's mtime in ns."""

    size: int
    etag: str | None
    version: int


class Store(ABC):
    """Files below a location. `location` is as a user would type it; `folder` is it, where it is on this machine.

    A name that is not there is FileNotFoundError. A store that does not answer, or may not be used, is StorageError
    once it has been retried, and so is a folder that may not be read; any other failure of a folder is OSError.
    """

    location: str
    folder: Path | None = None

    @abstractmethod
    def read(self, name: str) -> bytes:
        """All of a file."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A file, to be read from any position; of an object only the ranges that are asked for are fetched."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Make or replace a file, in one step."""

    @abstractmethod
    def put(self, name: str, path: Path) -> None:
        """Make or replace a file by a copy of a local one, in one step."""

    @abstractmethod
    def get(self, name: str, path: Path) -> None:
        """Copy a file to a local path, which is whole when this returns. Mode 600 where the path is new."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Take a file away; one that is not there is gone already."""

    @abstractmethod
    def stat(self, name: str) -> Stat | None:
        """Size and version of a file; None where there is none."""

    @abstractmethod
    def entries(self, folder: str = "") -> Iterator[FolderEntry]:
        """What lies directly in a folder, in any order. FileNotFoundError where it is none."""

    @abstractmethod
    def lock(self, busy: str) -> AbstractContextManager[None]:
        """Held by one process at a time, where the store has locks. OutputError; busy: its message."""

    def path(self, name: str) -> Path | None:
        """Where a file lies on this machine; None of an object."""
        return None if self.folder is None else self.folder / checked(name)

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return self.stat(name) is not None

    def names(self, prefix: str = "") -> Iterator[str]:
        """Names of all files below a folder (`shards/`), hidden ones left out; none where there is no such folder."""
        folders = [prefix.strip("/")]
        while folders:
            folder = folders.pop()
            try:
                for entry in self.entries(folder):
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.name.startswith("."):
                        continue
                    if entry.is_folder:
                        folders.append(path)
                    else:
                        yield path
            except FileNotFoundError:
                continue


def checked(name: str) -> str:
    """A name that stays below its location. Raises ValueError: names are the program's own."""
    if _NO_NAME.search(name):
        raise ValueError(f"{name!r} is no name in a store")
    return name


def new_file(path: Path) -> BinaryIO:
    """A local file to write to, emptied if it is there, else made with mode 600."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")
