"""Rows of a plan: one a file, as the listing saw it, with the series that its header names. Parquet in and out.

    shard series order path size mtime_ns ctime_ns etag reason kind container member unlisted slices

One row group a shard, so that whoever does a shard reads nothing else. pyarrow is imported where it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from lits_deploy.scans.discover import ScanRecord

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 20_000  # rows that are Python objects at once


class PlannedRow(NamedTuple):
    """A file of a shard.

    series: token of its series (`pipeline.naming`), None where its header could not be read. order: its rank along the
    series. etag: of an object, else None. slices: in it, 1 where that is not known. The others as in `ScanRecord`.
    """

    shard: int
    series: str | None
    order: int
    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    etag: str | None
    reason: str | None
    kind: str
    container: str | None
    member: int | None
    unlisted: bool
    slices: int

    @property
    def found(self) -> ScanRecord:
        """As the listing gave it."""
        return ScanRecord(
            path=self.path,
            size=self.size,
            mtime_ns=self.mtime_ns,
            reason=self.reason,
            kind=self.kind,
            container=self.container,
            member=self.member,
            ctime_ns=self.ctime_ns,
            unlisted=self.unlisted,
            shard=self.shard,
            etag=self.etag,
        )


class RowsDigest:
    """What a shard is known by: of its rows in their order, less number and ctime, which say nothing of content."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, row: PlannedRow) -> None:
        """The next row."""
        # As the ledger's digests: ascii() is exact, and the same in every Python.
        self._hash.update(ascii((row.series, *row[2:6], *row[7:])).encode("ascii"))

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()


def digest_of(rows: Iterable[PlannedRow]) -> str:
    """Hex SHA-256 of a shard's rows."""
    digest = RowsDigest()
    for row in rows:
        digest.add(row)
    return digest.hexdigest()


def schema() -> pa.Schema:
    """Of the Parquet files."""
    import pyarrow as pa

    whole = {"shard", "order", "size", "mtime_ns", "ctime_ns", "member", "slices"}
    optional = {"series", "etag", "reason", "container", "member"}

    def kind(name: str) -> pa.DataType:
        return pa.int64() if name in whole else pa.bool_() if name == "unlisted" else pa.string()

    return pa.schema([pa.field(name, kind(name), nullable=name in optional) for name in PlannedRow._fields])


class PlanWriter:
    """Writes a plan's Parquet file, a shard at a time. Use as a context manager."""

    def __init__(self, stream: Any, columns: pa.Schema | None = None) -> None:
        """stream: a path, or a file open for writing. columns: of other records than `PlannedRow`."""
        import pyarrow.parquet as pq

        self._schema = columns or schema()
        self._writer = pq.ParquetWriter(stream, self._schema, compression="zstd")
        self.groups = 0

    def __enter__(self) -> PlanWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Write a shard's rows; the number of their row group."""
        import pyarrow as pa

        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, self._schema.types, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=len(rows))
        self.groups += 1
        return self.groups - 1


def read_group(stream: IO[bytes], row_group: int) -> Iterator[PlannedRow]:
    """The rows of a row group; streamed."""
    return map(PlannedRow._make, read_columns(stream, PlannedRow._fields, [row_group]))


def read_columns(
    stream: IO[bytes], names: Sequence[str], row_groups: list[int] | None = None
) -> Iterator[tuple[Any, ...]]:
    """These columns' values, row by row; streamed. Raises ValueError or OSError for what `PlanWriter` did not write."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(stream) as file:
        for batch in file.iter_batches(_BATCH, row_groups=row_groups, columns=list(names), use_threads=False):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
