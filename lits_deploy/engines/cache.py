"""The folder of engines: outside any bundle, for its owner alone. What it hands out is bytes whose hash was checked.

An engine's file is read once; the bytes that were hashed are the bytes that TensorRT gets. Knows nothing about
building or running.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lits_deploy.engines.key import EngineKey
from lits_deploy.engines.record import EngineRecord
from lits_deploy.errors import EngineError
from lits_deploy.files import sha256_bytes, write_bytes, write_text

ENVIRONMENT = "LITS_DEPLOY_ENGINE_CACHE"
"""Names the folder where no --engine-cache does: for commands that run unattended."""


def default_folder() -> Path:
    """$LITS_DEPLOY_ENGINE_CACHE, else lits-deploy/engines in the user's cache folder (XDG: ~/.cache)."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "lits-deploy" / "engines"


@dataclass(frozen=True)
class Found:
    """An engine that may be given to TensorRT: its record and its bytes, which match."""

    record: EngineRecord
    data: bytes


class EngineCache:
    """Engines in a folder, which is made where it is missing.

    Raises EngineError for a folder that belongs to somebody else or that others may write to.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise EngineError(
                f"The engine cache {self.folder} cannot be made ({error.strerror}).", fix="--engine-cache elsewhere"
            ) from error
        self._check_private(self.folder)

    def find(self, wanted: EngineKey, *, larger: bool = True) -> tuple[Found | None, str]:
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
                return Found(record, data), ""
            reason = reason or problem
        return None, reason or self._why_none(wanted, records)

    def records(self) -> list[EngineRecord]:
        """Every record of ours in the folder; foreign files are passed over."""
        read = (EngineRecord.read(path) for path in sorted(self.folder.glob("*.json")))
        return [record for record in read if record is not None]

    def store(self, record: EngineRecord, data: bytes) -> Path:
        """Write an engine and then its record, each atomically: a record never lies beside half an engine."""
        path = self.engine_path(record.key)
        write_bytes(path, data)
        record.write(self.folder)
        return path

    def engine_path(self, key: EngineKey) -> Path:
        """Where the engine of that key lies."""
        return self.folder / f"{key.digest}.engine"

    @contextmanager
    def lock(self, key: EngineKey) -> Iterator[None]:
        """One process builds an engine; another that wants the same waits here and then finds it."""
        with (self.folder / f"{key.digest}.lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # Ctrl-C ends the wait; the lock goes with the process
            yield

    def read_side(self, name: str) -> bytes:
        """A timing or runtime cache of TensorRT's own, if its hash is the one that was written with it; else b""."""
        path = self.folder / name
        with suppress(OSError):
            self._check_private(path)
            data = path.read_bytes()
            if path.with_name(f"{name}.sha256").read_text(encoding="ascii", errors="replace").strip() == sha256_bytes(
                data
            ):
                return data
        return b""

    def write_side(self, name: str, data: bytes) -> None:
        """Keep such a cache, with its hash beside it."""
        write_bytes(self.folder / name, data)
        write_text(self.folder / f"{name}.sha256", sha256_bytes(data) + "\n")

    def _read(self, record: EngineRecord) -> tuple[bytes | None, str]:
        path = self.engine_path(record.key)
        try:
            self._check_private(path)
            data = path.read_bytes()
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

    @staticmethod
    def _check_private(path: Path) -> None:
        found = path.stat()
        if found.st_uid not in (os.getuid(), 0):
            raise EngineError(
                f"{path} belongs to somebody else, who could put a program into it.", fix="--engine-cache elsewhere"
            )
        if found.st_mode & stat.S_IWOTH:
            raise EngineError(f"{path} may be written by anybody: an engine is a program.", fix=f"chmod o-w {path}")


def side_name(*parts: str) -> str:
    """A file name from words: `timing`, a version and a GPU → `timing-10.3.0-NVIDIA_A2.cache`."""
    return "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", part) for part in parts) + ".cache"
