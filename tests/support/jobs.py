"""Plans for tests, made without a bundle, a listing or headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.record import JobRecord, ShardEntry
from lits_deploy.sharding.rows import PlannedRow, digest_of


def planned(path: str, *, shard: int = 0, series: str | None = "5e41e5", **changes: Any) -> PlannedRow:
    """A row of a plan: a DICOM file of one slice."""
    row = PlannedRow(shard, series, 0, path, 1000, 17, 18, None, None, "dicom", None, None, False, 1)
    return row._replace(**changes)


def record(**changes: Any) -> JobRecord:
    """A record without shards."""
    values: dict[str, Any] = {
        "id": "0123456789abcdef",
        "generation": 1,
        "task": "classify",
        "bundle": "b" * 64,
        "artifact": "fp32",
        "contract": "c" * 64,
        "options": {"identify": False},
        "shard_slices": 2,
        "mark": "123456",
        "base": "/scans",
        "roots": ("/scans",),
        "names": ("scans",),
    }
    return JobRecord(**{**values, **changes})


def written(job: JobFolder, shards: Sequence[Sequence[PlannedRow]], plan: str = "plan/a.parquet") -> list[ShardEntry]:
    """Entries of these shards, whose rows lie in a Parquet file of the job."""
    with job.adding() as file:
        with file.writer() as writer:
            groups = [writer.add(list(rows)) for rows in shards]
        file.put(plan)
    return [
        ShardEntry(
            number=rows[0].shard,
            plan=plan,
            row_group=group,
            files=len(rows),
            series=len({row.series for row in rows}),
            slices=sum(row.slices for row in rows),
            digest=digest_of(rows),
        )
        for rows, group in zip(shards, groups, strict=True)
    ]


def shard(number: int, slices: int = 10, files: int = 10) -> ShardEntry:
    """An entry whose rows lie nowhere."""
    return ShardEntry(
        number=number, plan="plan/a.parquet", row_group=number, files=files, series=1, slices=slices, digest="d" * 64
    )
