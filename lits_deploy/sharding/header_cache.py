"""What headers have said to a planning that has not ended yet, kept in JOB so that they are not all read again.

    JOB/headers/<key>-<random>.parquet    ten thousand files each; gone once the plan is there

A planner that reads headers for a night may be killed in the morning: the same command then reads what is missing. What
is said of a file holds while size, times, ETag, reader and salt are the same. Identifiers are tokens (`naming`); paths
are in clear, as in the plan itself. Knows nothing of series or shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, NamedTuple

from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.release import __version__
from lits_deploy.sharding.rows import PlanWriter, read_columns

if TYPE_CHECKING:
    import pyarrow as pa

    from lits_deploy.sharding.record import JobRecord

PIECE = 10_000
"""Files in one: what is lost by a kill at most."""


class Said(NamedTuple):
    """A file as it was found, and what its header said: token to info as in `ledger.HeaderRow` (None: no series is
    known), slices, and where its first one lies as JSON (None: it could not be read)."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    etag: str | None
    kind: str
    container: str | None
    member: int | None
    token: str | None
    study: str | None
    patient: str | None
    info: str | None
    slices: int
    facts: str | None


def key_of(record: JobRecord) -> str:
    """Of what headers say to this version, under these options and this salt."""
    parts = [__version__, record.mark, record.base, record.options["reading"]]
    return sha256_bytes(canonical_json(parts).encode())[:12]


def write(stream: IO[bytes], rows: list[Said]) -> None:
    """Write some files as Parquet."""
    with PlanWriter(stream, _schema()) as writer:
        writer.add(rows)


def read(stream: IO[bytes]) -> Iterator[Said]:
    """What `write` wrote. Raises ValueError or OSError for anything else."""
    return map(Said._make, read_columns(stream, Said._fields))


def _schema() -> pa.Schema:
    import pyarrow as pa

    whole = ("size", "mtime_ns", "ctime_ns", "member", "slices")
    return pa.schema([pa.field(name, pa.int64() if name in whole else pa.string()) for name in Said._fields])
