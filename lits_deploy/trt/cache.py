"""The folder of engines: outside any bundle, for its owner alone. What it hands out is bytes whose hash was checked.

An engine's file is read once; the bytes that were hashed are the bytes that TensorRT gets. Knows nothing about
building or running.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lits_deploy import private
from lits_deploy.errors import EngineError
from lits_deploy.files import open_regular, sha256_bytes, write_bytes, write_text
from lits_deploy.locks import open_lock
from lits_deploy.trt.key import EngineKey
from lits_deploy.trt.record import EngineRecord
from lits_deploy.user_cache import user_cache

ENVIRONMENT = "LITS_DEPLOY_ENGINE_CACHE"
"""Names the folder where no --engine-cache does: for commands that run unattended."""


def default_folder() -> Path:
    """$LITS_DEPLOY_ENGINE_CACHE, else `engines` in the user's cache; EngineError where the user has none."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named)
    cache = user_cache()
    if cache is None:
        raise EngineError("This user has no home folder to keep engines in.", fix="--engine-cache FOLDER")
    return cache / "engines"


@dataclass(frozen=True)
class PreparedEngine:
    """An engine that may be given to TensorRT: its record and its bytes, which match.

    why: it was built; empty where it was found.
    """

    record: EngineRecord
    data: bytes
    why: str = ""


class EngineCache:
    """Engines in a folder, which is made where it is missing.

    `folder` is its real path: links on the way to it are followed once. Raises EngineError for a folder that belongs to
    somebody else or that others (a group, too) may write to, and for such a parent: whoever may rename what lies in it
    could put another folder in its place. A parent with the sticky bit, as /tmp, lets nobody do that.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or default_folder()
        try:
            for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
                missing.mkdir(exist_ok=True, mode=0o700)  # `parents=True` would leave their modes to the umask
            self.folder = folder.resolve(strict=True)
        except OSError as error:
            raise EngineError(
                f"The engine cache {folder} cannot be made ({error.strerror}).", fix="--engine-cache elsewhere"
            ) from error
        if not self.folder.is_dir():
            raise EngineError(f"The engine cache {folder} is not a folder.", fix="--engine-cache elsewhere")
        _check_private(self.folder, self.folder.stat())
        for parent in self.folder.parents:
            _check_private(parent, parent.stat(), sticky=True)

    def find(self, wanted: EngineKey, *, larger: bool = True) -> tuple[PreparedEngine | None, str]:
        """An engine for that key, or None and why there is none, as a clause that follows `building: `.

        larger: one that takes larger batches will do; of several, the one whose batches are nearest. Nothing is
        deserialised.
        """
        records = self.records()
        fitting = [r for r in records if r.key.serves(wanted) and (larger or r.key.profile == wanted.profile)]
        fitting.sort(key=lambda record: (bool(record.key.targets), record.key.max_batch))
        reason = ""
        for record in fitting:
            data, problem = self._read(record)
            if data is not None:
                return PreparedEngine(record, data), ""
            reason = reason or problem
        return None, reason or self._why_none(wanted, records)

    def records(self) -> list[EngineRecord]:
        """Every record of ours in the folder; foreign files are passed over."""
        read = (EngineRecord.read(path) for path in sorted(self.folder.glob("*.json")))
        return [record for record in read if record is not None]

    def store(self, record: EngineRecord, data: bytes) -> Path:
        """Write an engine and then its record, each atomically: a record never lies beside half an engine."""
        path = self.engine_path(record.key)
        with private.private():  # whatever the umask, or `_read_private` would refuse it
            write_bytes(path, data)
            record.write(self.folder)
        return path

    def engine_path(self, key: EngineKey) -> Path:
        """Where the engine of that key lies."""
        return self.folder / f"{key.digest}.engine"

    @contextmanager
    def lock(self, key: EngineKey) -> Iterator[None]:
        """One process builds an engine; another that wants the same waits here and then finds it."""
        try:
            descriptor = open_lock(self.folder / f"{key.digest}.lock")
        except OSError as error:
            raise EngineError(
                f"The engine cache {self.folder} cannot be used ({error.strerror}).", fix="--engine-cache elsewhere"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # Ctrl-C ends the wait; the lock goes with the process
            yield
        finally:
            os.close(descriptor)

    def read_side(self, name: str) -> bytes:
        """A timing or runtime cache of TensorRT's own, if its hash is the one that was written with it; else b""."""
        path = self.folder / name
        with suppress(OSError):
            data = _read_private(path)
            if path.with_name(f"{name}.sha256").read_text(encoding="ascii", errors="replace").strip() == sha256_bytes(
                data
            ):
                return data
        return b""

    def write_side(self, name: str, data: bytes) -> None:
        """Keep such a cache, with its hash beside it."""
        with private.private():
            write_bytes(self.folder / name, data)
            write_text(self.folder / f"{name}.sha256", sha256_bytes(data) + "\n")

    def _read(self, record: EngineRecord) -> tuple[bytes | None, str]:
        path = self.engine_path(record.key)
        try:
            data = _read_private(path)
        except OSError as error:
            return None, f"{path.name} cannot be read ({error.strerror})"
        if len(data) != record.bytes:
            return None, f"{path.name} has {len(data):,} bytes, its record says {record.bytes:,}"
        if sha256_bytes(data) != record.sha256:
            return None, f"{path.name} was altered: its hash is not the one in its record"
        return data, ""

    def _why_none(self, wanted: EngineKey, records: list[EngineRecord]) -> str:
        paper = self.folder / f"{wanted.digest}.json"
        if paper.exists() and EngineRecord.read(paper) is None:
            return f"{paper.name} is not the record of this engine"
        related = [
            record.key
            for record in records
            if (record.key.artifact, record.key.flavour) == (wanted.artifact, wanted.flavour)
            and (record.key.bundle == wanted.bundle or record.key.artifact_sha256 == wanted.artifact_sha256)
        ]
        if not related:
            return "there is none yet"
        nearest = min(related, key=lambda key: len(key.differences(wanted)))
        return ", ".join(nearest.differences(wanted)) or f"batches {nearest.profile} → {wanted.profile}"


def _read_private(path: Path) -> bytes:
    """A file's bytes, of the very file that was checked. Raises OSError (a link, too), EngineError."""
    with open_regular(path, sys.maxsize) as stream:
        _check_private(path, os.fstat(stream.fileno()))
        return stream.read()


def _check_private(path: Path, status: os.stat_result, *, sticky: bool = False) -> None:
    """Raise EngineError where others than its owner, root and we may write. sticky: others may, to a sticky folder."""
    # Whoever owns `/` decides about everything: in some containers that is the number of an unknown user, not 0.
    if status.st_uid not in (os.getuid(), 0, Path("/").stat().st_uid):
        raise EngineError(
            f"{path} belongs to somebody else, who could put a program into it.", fix="--engine-cache elsewhere"
        )
    if sticky and status.st_mode & stat.S_ISVTX:
        return
    for bit, who, letter in ((stat.S_IWOTH, "anybody", "o"), (stat.S_IWGRP, "its group", "g")):
        if status.st_mode & bit:
            raise EngineError(
                f"{path} may be written by {who}: an engine is a program.",
                fix=f"chmod {letter}-w {path}, or --engine-cache elsewhere",
            )


def side_name(*parts: str) -> str:
    """A file name from words: `timing`, a version and a GPU → `timing-10.3.0-NVIDIA_A2.cache`."""
    return "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", part) for part in parts) + ".cache"
