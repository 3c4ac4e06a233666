"""Scans → a plan: listed once, headers read once, whole series cut into shards, and all of it written into JOB.

What the plan is depends on the scans, the bundle, the options and the salt: neither on the order in which files are
listed nor on what will work on it. Planned again, shards whose files are all as they were stay, with what is published
of them; a shard of which a series changed or a file went is superseded, and what is left of it goes into new shards
with what is new. job.json is written last, so a planner that is killed leaves the earlier plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from operator import itemgetter
from time import monotonic
from typing import Any

from lits_deploy.decode.settings import most_workers
from lits_deploy.errors import OutputError, UserError
from lits_deploy.events.emit import phase
from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans.fetch import is_object
from lits_deploy.scans.listing import Listing, no_scans
from lits_deploy.sharding.cut import cut
from lits_deploy.sharding.earlier import check_gone, settle_doubtful
from lits_deploy.sharding.header_cache import key_of
from lits_deploy.sharding.headers import Reader, read_headers, reader
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.job_options import check_salt, names_of
from lits_deploy.sharding.plan_record import PlanRequest, check_same, noted, record_of
from lits_deploy.sharding.record import JobRecord, ShardEntry
from lits_deploy.sharding.rows import PlannedRow, digest_of
from lits_deploy.sharding.staging import PlanChanges, Staging

MOST_SHARD_SLICES = 1_000_000
"""A shard's rows are in memory while it is written."""

_STAGE = 1000  # files noted at once

Say = Callable[[str, int], None]
"""Told what is being done (`listed`, `headers`) and of how many files, now and then."""


@dataclass(frozen=True, kw_only=True)
class PlanSummary:
    """What a plan comes to.

    files, series, slices, shards: of those that count; slices as far as headers say. unread: headers that were to be
    read now and could not be. done: shards that are published. new, superseded: shards since the earlier
    plan; changes: files since then. others: files that are no scans, by suffix. warnings: what the user should know.
    """

    files: int
    series: int
    slices: int
    unread: int
    shards: int
    done: int
    new: int
    superseded: tuple[int, ...]
    changes: PlanChanges
    again: bool
    others: Mapping[str, int]
    seconds: float
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "changes": self.changes._asdict(), "seconds": round(self.seconds, 3)}


def plan_scans(
    asked: PlanRequest,
    job: JobFolder,
    *,
    open_reader: Reader | None = None,
    on_progress: Say = lambda what, files: None,
    stop: Stop | None = None,
) -> PlanSummary:
    """Plan scans, or plan them again.

    open_reader: reads headers in place of decode workers.
    Raises UserError for what the user can mend: no scans, another bundle, options, salt or folder than the plan that is
    there, scans that seem to be gone; KeyboardInterrupt when asked to stop. The earlier plan holds then.
    """
    begun, stop = monotonic(), stop or Stop()
    listing, options, shard_slices = asked.listing, asked.options, asked.shard_slices
    if isinstance(shard_slices, int) and not 1 <= shard_slices <= MOST_SHARD_SLICES:
        raise UserError(f"Shards of {shard_slices:,} slices are not possible.", fix=f"use 1 … {MOST_SHARD_SLICES:,}")
    naming = Naming(names=names_of(options))
    new = record_of(asked, naming.names.mark)
    if open_reader is None:
        # A worker a core: no network computes meanwhile.
        readers = replace(options, workers=options.workers or most_workers())
        open_reader = reader(
            readers.decoding(asked.bundle.manifest.contract, listing.within, objects=is_object(listing.base)), stop
        )
    with job.held(), Staging() as staging:
        before = job.read() if job.exists() else None
        if before is not None:
            check_salt(before, naming.names)
            check_same(before, new, job.location)
            for entry in before.live:
                staging.remember(job.rows(entry))
        phase("list")
        _list(staging, listing, stop, on_progress)
        staging.compare()
        stay: list[int] = []
        if before is not None:
            if not options.allow_removed:
                check_gone(before, staging, listing)
            stay = settle_doubtful(job, before, staging, listing, naming, stop)
        key = key_of(new)
        staging.recall(job.said(key))
        phase("headers")
        read_headers(
            staging,
            naming,
            listing.real_path,
            open_reader,
            stop,
            on_file=lambda files: on_progress("headers", files),
            keep=lambda rows: job.keep_said(key, rows),
        )
        phase("shards")
        staging.order()
        if callable(shard_slices):
            shard_slices = None if before else shard_slices(staging.slices())
        now = _planned(job, staging, before or new, noted(new, listing), shard_slices, stay)
        if before is None or replace(now, generation=before.generation) != before:
            _check_alone(job, before)
            job.write(now)
        job.tidy(now, before or now)
        changes, unread = staging.changes(), staging.failed()
    live, earlier = list(now.live), () if before is None else before.shards
    return PlanSummary(
        files=sum(entry.files for entry in live),
        series=sum(entry.series for entry in live),
        slices=sum(entry.slices for entry in live),
        unread=unread,
        shards=len(live),
        done=len(job.published(now)),
        new=len(now.shards) - len(earlier),
        superseded=tuple(one.number for one in earlier if not one.superseded and now.shard(one.number).superseded),
        changes=changes,
        again=before is not None,
        others=dict(listing.others.most_common()),
        seconds=monotonic() - begun,
        warnings=tuple(_warnings(listing)),
    )


def _planned(
    job: JobFolder, staging: Staging, before: JobRecord, new: JobRecord, shard_slices: int | None, stay: Sequence[int]
) -> JobRecord:
    """The record that follows an earlier one (or the one without shards); the rows of what is new in it are written.

    new: what is of this listing. stay: shards of which rows have another ctime.
    """
    generation, most = before.generation + 1, shard_slices or before.shard_slices
    dirty = staging.dirty()
    there = [replace(one, superseded=True) if one.number in dirty else one for one in before.shards]
    again = [number for number in stay if number not in dirty]
    added: list[ShardEntry] = []
    with job.adding() as file:
        with file.writer() as writer:
            for number in again:
                there[number] = replace(there[number], row_group=writer.add(list(staging.of_shard(number))))
            for number, rows in enumerate(cut(_series(staging), most), start=len(there)):
                numbered = [PlannedRow(number, *row[1:]) for row in rows]
                added.append(_entry(numbered, writer.add(numbered)))
        if again or added:
            content = [generation, [(there[number].number, there[number].digest) for number in again]]
            content.append([(entry.number, entry.digest) for entry in added])
            name = f"plan/{sha256_bytes(canonical_json(content).encode())[:16]}.parquet"
            file.put(name)
            added = [replace(entry, plan=name) for entry in added]
            for number in again:
                there[number] = replace(there[number], plan=name)
    return replace(new, id=before.id, generation=generation, shard_slices=most, shards=(*there, *added))


def _list(staging: Staging, listing: Listing, stop: Stop, on_progress: Say) -> None:
    files, records = 0, iter(listing)
    while some := list(islice(records, _STAGE)):
        staging.see(some)
        files += len(some)
        on_progress("listed", files)
        if stop.requested:
            raise KeyboardInterrupt
    if not files:
        raise no_scans(listing)


def _series(staging: Staging) -> Iterator[list[PlannedRow]]:
    for _, group in groupby(staging.ordered(), key=itemgetter(0)):
        yield [row for _, row in group]


def _entry(rows: Sequence[PlannedRow], row_group: int) -> ShardEntry:
    return ShardEntry(
        number=rows[0].shard,
        plan="",
        row_group=row_group,
        files=len(rows),
        series=len({row.series for row in rows if row.series is not None}),
        slices=sum(row.slices for row in rows),
        digest=digest_of(rows),
    )


def _check_alone(job: JobFolder, before: JobRecord | None) -> None:
    """Raise OutputError where somebody else has planned meanwhile, on a store that knows no locks."""
    there = job.read().generation if job.exists() else 0
    if there != (before.generation if before else 0):
        raise OutputError(f"Another lits-deploy has planned in {job.location} meanwhile.", fix="plan again")


def _warnings(listing: Listing) -> Iterator[str]:
    if listing.own:
        yield f"Folders among the scans that hold results of lits-deploy: {listing.own}. Their masks are passed over."
    if listing.unlisted:
        yield f"{len(listing.unlisted):,} folders or zips could not be listed; each is a failed row."
