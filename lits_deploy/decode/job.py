"""One file to decode, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lits_deploy.ledger.rows import PendingFile, SourceRow
from lits_deploy.scans import READERS, Frame, SeriesHeader
from lits_deploy.scans.fetch import is_object


class NeighbourSource(NamedTuple):
    """The path of a neighbour of a file; as in DecodeJob."""

    path: str
    member: int | None
    mtime_ns: int | None


@dataclass(frozen=True, eq=False)
class DecodeJob:
    """A file, and what is wanted of it.

    file: its number in the ledger; path: the operating system's, or an object's URL (of its zip, if it is the zip's
    `member`); name: as discovery found it; kind, reader: of file, and the module that reads it. mtime_ns: of the zip
    when it was listed: of another one the member's number may mean another file; of any object.
    headers: tell of its slices and decode none; only: the indices of the slices to decode (None: all).
    neighbours: of a file of one slice the files, of the same kind, that become its channels (None: itself in the
    middle, elsewhere none to be used); empty where its neighbours are slices of its own.
    """

    file: int
    path: str
    reader: str
    name: str = ""
    kind: str = ""
    member: int | None = None
    mtime_ns: int | None = None
    headers: bool = False
    only: tuple[int, ...] | None = None
    neighbours: tuple[NeighbourSource | None, ...] = ()

    @classmethod
    def of(
        cls,
        row: PendingFile | SourceRow,
        real_path: Callable[[str], str],
        readers: Mapping[str, str] = READERS,
        **more: Any,
    ) -> DecodeJob:
        """The job for a file of a discovery. real_path: the operating system's path of a path as discovery found it."""
        path = real_path(row.container or row.source)
        return cls(
            row.file,
            path,
            readers[row.kind],
            name=row.source,
            kind=row.kind,
            member=row.member,
            mtime_ns=row.mtime_ns if row.member is not None or is_object(path) else None,
            **more,
        )

    @property
    def source(self) -> NeighbourSource:
        """Its path, for a job that it is a neighbour of."""
        return NeighbourSource(self.path, self.member, self.mtime_ns)


@dataclass(frozen=True, eq=False)
class Ended:
    """All that there is to say of a file, once all its batches have been released.

    reason: why it failed, or None. sha256: of its bytes; window, series: what its header says, as far as it was
    understood. excluded: its slices that are, and why; of a job for headers, all its slices.
    """

    job: DecodeJob
    reason: str | None = None
    sha256: str | None = None
    window: str | None = None
    series: SeriesHeader | None = None
    excluded: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class Again:
    """A file is decoded anew: what was given out of it counts no more."""

    job: DecodeJob
