"""JOB: a plan, and what has been done of it. All that is shared between who plans, who works and who merges.

    JOB/  job.json                       the record, written last: what it does not name is not there
          plan/<digest>.parquet          rows of the shards that one planning added, one row group a shard
          headers/<key>-<random>.parquet what headers have said to a planning that has not ended (`said`)
          shards/00012-<digest>.sqlite   the ledger of a shard that is done; named for its rows
          shards/00012-<digest>.failed   one line: why it failed, when somebody last tried
          .lits-deploy.lock              while somebody plans, on a local disk

A shard is done when its ledger is there: it appears in one step. Nothing is ever changed in place, so a process that is
killed leaves what was there before. Paths of scans stand in it: it is its owner's alone. The salt never does.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from lits_deploy import private
from lits_deploy.errors import OutputError, UserError
from lits_deploy.printable import printable, printable_json
from lits_deploy.resource_errors import as_user_error
from lits_deploy.sharding.header_cache import Said
from lits_deploy.sharding.header_cache import read as read_said
from lits_deploy.sharding.header_cache import write as write_said
from lits_deploy.sharding.record import JobRecord, ShardEntry
from lits_deploy.sharding.rows import PlannedRow, PlanWriter, RowsDigest, read_group
from lits_deploy.storage import Store, store_at

__all__ = ["JobFolder", "JobRecord", "PlannedRow", "ShardEntry"]

RECORD = "job.json"


class JobFolder:
    """JOB at a location: a local folder, `file://…` or `s3://…`. Opening one touches nothing."""

    def __init__(self, location: str, *, endpoint: str | None = None) -> None:
        """endpoint: URL of an object store that is not Amazon's. Raises UserError for a location of another kind."""
        self._files = store_at(location, endpoint)
        self.location = self._files.location

    @property
    def folder(self) -> Path | None:
        """It, where it is a folder of this machine."""
        return self._files.folder

    def exists(self) -> bool:
        """Whether there is a plan. Raises StorageError."""
        return self._files.exists(RECORD)

    def read(self) -> JobRecord:
        """The plan's record. Raises UserError where there is none, OutputError for one that cannot be used."""
        if not self.exists():
            raise UserError(f"There is no plan in {self.location}.", fix="lits-deploy plan BUNDLE SCANS --out JOB")
        return JobRecord.from_bytes(self._files.read(RECORD), self.location)

    def write(self, record: JobRecord) -> None:
        """Make this the plan, in one step."""
        with private.private(), _writing(self.location):
            text = printable_json(record.to_json(), sort_keys=True, allow_nan=False)
            self._files.write(RECORD, text.encode() + b"\n")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """For one who plans. Raises OutputError where another one is at it."""
        with private.private(), self._files.lock(f"Another lits-deploy is planning in {self.location}."):
            yield

    @contextlib.contextmanager
    def adding(self) -> Iterator[PlanFile]:
        """A new Parquet file of the plan: written on this machine, and put into JOB by `PlanFile.put`.

        Here it has no name, so that a process that is killed leaves no list of paths behind.
        """
        with tempfile.TemporaryFile(prefix="lits-deploy-") as stream:
            yield PlanFile(stream, self._files)

    def said(self, key: str) -> Iterator[Said]:
        """What headers have said to plannings that did not end (`said.key_of`); nothing of what cannot be read."""
        for name in self._files.names("headers/"):
            if name.startswith(f"headers/{key}-"):
                with contextlib.suppress(OSError, ValueError), self._files.open(name) as stream:
                    yield from read_said(stream)

    def keep_said(self, key: str, rows: list[Said]) -> None:
        """Keep what headers have said. Raises OSError."""
        with tempfile.TemporaryFile(prefix="lits-deploy-") as stream:
            write_said(stream, rows)
            _put(self._files, f"headers/{key}-{secrets.token_hex(8)}.parquet", stream)

    def tidy(self, *records: JobRecord) -> None:
        """Take away what plannings that did not end have left. For who holds the job, once the record is written.

        records: it, and the one before, which workers may still go by.
        """
        named = {entry.plan for record in records for entry in record.shards}
        for folder in ("plan", "headers"):
            with contextlib.suppress(FileNotFoundError):
                names = [f"{folder}/{entry.name}" for entry in self._files.entries(folder) if not entry.is_folder]
                for name in names:
                    if name not in named:
                        self._files.remove(name)

    def rows(self, entry: ShardEntry) -> Iterator[PlannedRow]:
        """The rows of a shard; streamed. Raises OutputError, at the end, where they are not those that were planned."""
        digest, count = RowsDigest(), 0
        try:
            with self._files.open(entry.plan) as stream:
                for row in read_group(stream, entry.row_group):
                    digest.add(row)
                    count += 1
                    yield row
        except (OSError, ValueError, IndexError, KeyError) as error:  # Arrow's errors are ValueErrors and OSErrors
            if as_user_error(error) is not None:  # the disk's or the machine's fault: the plan may be whole
                raise
            raise self._damaged(entry) from error
        if count != entry.files or digest.hexdigest() != entry.digest:
            raise self._damaged(entry)

    def is_published(self, entry: ShardEntry) -> bool:
        """Whether a shard is done."""
        return self._files.exists(entry.ledger)

    def publish(self, entry: ShardEntry, ledger: Path) -> None:
        """Make this file the shard's ledger, in one step. Twice, or by two at once, is harmless."""
        with private.private():
            self._files.put(entry.ledger, ledger)

    def fetch(self, entry: ShardEntry, to: Path) -> None:
        """Copy a shard's ledger to a local file. Raises OSError."""
        with private.private():
            self._files.get(entry.ledger, to)

    def here(self, entry: ShardEntry) -> Path | None:
        """Where a shard's ledger lies, if that is on a disk of this machine; it is never written to."""
        return self._files.path(entry.ledger)

    def look(self, entry: ShardEntry) -> None:
        """Raise StorageError for a ledger that this user may not read."""
        with contextlib.suppress(FileNotFoundError):
            self._files.open(entry.ledger).close()

    def note_failure(self, entry: ShardEntry, why: str) -> None:
        """Keep the line that says why a shard could not be done. Raises OSError."""
        with private.private():
            self._files.write(entry.failure, f"{why}\n".encode())

    def failures(self, entries: Iterable[ShardEntry]) -> dict[int, str]:
        """Why those of these shards failed of which it is known, by number."""
        there = set(self._files.names("shards/"))
        return {
            entry.number: printable(self._files.read(entry.failure).decode(errors="replace").strip())
            for entry in entries
            if entry.failure in there
        }

    def published(self, record: JobRecord) -> list[ShardEntry]:
        """The shards that count and are done; one listing, whatever their number."""
        there = set(self._files.names("shards/"))
        return [entry for entry in record.live if entry.ledger in there]

    def missing(self, record: JobRecord) -> list[ShardEntry]:
        """The shards that count and are not done."""
        there = set(self._files.names("shards/"))
        return [entry for entry in record.live if entry.ledger not in there]

    def _damaged(self, entry: ShardEntry) -> OutputError:
        return OutputError(
            f"The plan in {self.location} is damaged: shard {entry.number} is not as it was planned.",
            fix="plan anew with --out elsewhere",
        )


class PlanFile:
    """A Parquet file on its way into JOB."""

    def __init__(self, stream: IO[bytes], files: Store) -> None:
        self._stream, self._files = stream, files

    def writer(self) -> PlanWriter:
        """What writes its shards."""
        return PlanWriter(self._stream)

    def put(self, name: str) -> None:
        """Put it into JOB under this name, whole or not at all."""
        with _writing(self._files.location):
            _put(self._files, name, self._stream)


@contextlib.contextmanager
def _writing(where: str) -> Iterator[None]:
    """Within, a JOB that cannot be written is OutputError."""
    try:
        yield
    except OSError as error:
        if as_user_error(error) is not None:  # a full disk, which has a line of its own
            raise
        raise OutputError(
            f"{where} cannot be written ({error.strerror}).", fix="get rights there, or --out elsewhere"
        ) from error


def _put(files: Store, name: str, stream: IO[bytes]) -> None:
    """Put what a file without a name holds into JOB."""
    stream.flush()
    with private.private():
        files.put(name, Path(f"/proc/self/fd/{stream.fileno()}"))
