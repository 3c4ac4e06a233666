"""What is known of files before any is decoded: to which series each belongs, how many slices it has, and where.

A picture's path says all of it; of DICOM and NIfTI decode workers read the headers, several at a time. Names are those
that a run gives (`pipeline.naming`), so that a shard's ledger groups as the plan did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain, islice

from lits_deploy.decode.decoding import Decoding
from lits_deploy.decode.job import DecodeJob, Ended
from lits_deploy.decode.settings import DecodeSettings
from lits_deploy.errors import OutputError
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans import Frame, SeriesHeader
from lits_deploy.sharding.header_cache import PIECE, Said
from lits_deploy.sharding.staging import PlannedFile, Staging

_LOT = 1000  # files noted at once

Answers = Iterator[tuple[Ended, list[Frame]]]

Reader = Callable[[], AbstractContextManager[Callable[[Iterator[DecodeJob]], Answers]]]
"""Opens what reads the headers of jobs: each job's end, in any order, with its frames, whose pixels are None."""


def reader(settings: DecodeSettings, stop: Stop) -> Reader:
    """Decode workers, which are started when the first header is to be read."""

    @contextmanager
    def opened() -> Iterator[Callable[[Iterator[DecodeJob]], Answers]]:
        with Decoding(settings, stop) as decoding:
            yield decoding.files

    return opened


def read_headers(
    staging: Staging,
    naming: Naming,
    real_path: Callable[[str], str],
    open_reader: Reader,
    stop: Stop,
    *,
    on_file: Callable[[int], None],
    keep: Callable[[list[Said]], None],
) -> None:
    """Have `staging` get the headers that it has not got yet.

    on_file: called with the number of files so far. keep: keeps what headers have said, for a planning that does not
    end. Raises KeyboardInterrupt when asked to stop.
    """
    count = 0

    def note(some: Iterable[PlannedFile]) -> Iterator[int]:
        nonlocal count
        some = iter(some)
        while lot := list(islice(some, _LOT)):
            staging.add_parsed(lot)
            count += len(lot)
            on_file(count)
            yield from (one.id for one in lot)
            if stop.requested:
                raise KeyboardInterrupt

    while staging.settle():
        if recalled := staging.recalled():
            count += recalled
            continue
        pictures = (DecodeJob.of(row, real_path) for row in staging.unread(pictures=True))
        deque(note(_planned_file(naming, job, None, [Frame(index=0)], None) for job in pictures), maxlen=0)
        others = (DecodeJob.of(row, real_path, headers=True) for row in staging.unread(pictures=False))
        if (first := next(others, None)) is not None:
            with open_reader() as read:
                answers = read(chain((first,), others))
                _keep(
                    note(_planned_file(naming, end.job, end.series, frames, end.reason) for end, frames in answers),
                    staging,
                    keep,
                )


def _keep(ids: Iterator[int], staging: Staging, keep: Callable[[list[Said]], None]) -> None:
    """Keep what the headers of these say, piece by piece; of the last ones, too, whatever ends it."""
    piece: list[int] = []
    try:
        for one in ids:
            piece.append(one)
            if len(piece) == PIECE:
                keep(staging.said(piece))
                piece = []
    except BaseException:
        if piece:
            with suppress(OSError, OutputError):  # the first error is the one that tells
                keep(staging.said(piece))
        raise


def _planned_file(
    naming: Naming, job: DecodeJob, series: SeriesHeader | None, frames: list[Frame], failure: str | None
) -> PlannedFile:
    header = naming.header(job, series)
    if failure is not None or not frames:
        return PlannedFile(job.file, header, 1, None)
    return PlannedFile(job.file, header, len(frames), naming.facts(job, frames[0].header))
