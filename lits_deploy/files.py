"""Files that are whole or absent: atomic writes, hashes, canonical JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lits_deploy import private
from lits_deploy.printable import printable, printable_json


def sha256_bytes(data: bytes | memoryview) -> str:
    """Hex SHA-256 of bytes in memory."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, so it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends without an error.

    The data is flushed to disk before the rename, so after a power cut the file is the old one or the new one.
    Within `private.private` the temporary file is there already, made for its owner alone: open it, do not replace it.
    """
    access = private.current()
    if access is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        private.make_folder(path.parent, access)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, newlines as they are."""
    write_bytes(path, text.encode())


def write_words(path: Path, text: str) -> None:
    """Write text for people to read, atomically: every line printable."""
    write_text(path, printable(text, multiline=True))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys, atomically."""
    write_text(path, printable_json(value, sort_keys=True, allow_nan=False) + "\n")
