"""JOB: what is read is what was written; a shard is done when its ledger is there; all of it is its owner's alone."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import planned, record, written
from lits_deploy.errors import OutputError, UserError
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.record import JobRecord
from lits_deploy.sharding.rows import digest_of

ROWS = [
    [planned("a/1.dcm"), planned("a/2.dcm", order=1, slices=40)],
    [
        planned("z.zip/1.dcm", shard=1, container="z.zip", member=3, etag='"e"', series="b"),
        planned("link", shard=1, series=None, size=-1, reason="a link", kind="", unlisted=True),
        planned("\\xff\\\\.png", shard=1, series="ü", kind="picture"),
    ],
]


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return JobFolder(str(tmp_path / "job"))


def test_rows_of_a_shard_are_those_that_were_written(job: JobFolder) -> None:
    entries = written(job, ROWS)
    assert [list(job.rows(entry)) for entry in entries] == ROWS
    assert next(job.rows(entries[1])).found.container == "z.zip"


def test_the_record_is_the_one_that_was_written(job: JobFolder) -> None:
    plan = record(shards=tuple(written(job, ROWS)), others={".txt": 3}, tops=("a", "b"), unlisted={"c": "why"}, own=1)
    job.write(plan)
    assert job.read() == plan


def test_a_shard_is_done_when_its_ledger_is_there(job: JobFolder, tmp_path: Path) -> None:
    entries = written(job, ROWS)
    plan = record(shards=(*entries, replace(entries[0], number=2, superseded=True)))
    assert job.missing(plan) == entries
    (tmp_path / "ledger").write_bytes(b"answers")
    job.publish(entries[1], tmp_path / "ledger")
    job.publish(entries[1], tmp_path / "ledger")
    assert job.missing(plan) == entries[:1]
    assert job.published(plan) == entries[1:]
    assert [job.is_published(entry) for entry in entries] == [False, True]
    job.fetch(entries[1], tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"answers"


def test_a_ledger_that_is_half_copied_is_not_there(
    job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = written(job, ROWS)
    (tmp_path / "ledger").write_bytes(b"answers")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        job.publish(entries[0], tmp_path / "ledger")
    assert not job.is_published(entries[0])
    assert list((tmp_path / "job" / "shards").iterdir()) == []


def test_nobody_else_may_look_into_it(job: JobFolder, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with job.held():
            entries = written(job, ROWS)
            job.write(record(shards=tuple(entries)))
        (tmp_path / "ledger").write_bytes(b"answers")
        job.publish(entries[0], tmp_path / "ledger")
    finally:
        os.umask(before)
    paths = [tmp_path / "job", *(tmp_path / "job").rglob("*")]
    assert len(paths) == 7
    assert {path: path.stat().st_mode & 0o777 for path in paths} == {
        path: 0o700 if path.is_dir() else 0o600 for path in paths
    }


def test_two_do_not_plan_at_once(job: JobFolder) -> None:
    with job.held(), pytest.raises(OutputError, match=r"Another lits-deploy is planning in .*job"), job.held():
        pass


def test_what_is_no_plan_says_so(job: JobFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no plan in .*job\. Fix: lits-deploy plan"):
        job.read()
    job.write(record())
    path = tmp_path / "job" / "job.json"
    document = json.loads(path.read_text())
    for text, says in (
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"schema": 1}', "damaged"),
        (json.dumps({**document, "more": 1}), "damaged"),
        (json.dumps({**document, "base": "/elsewhere"}), "damaged"),
        (json.dumps({**document, "options": None}), "damaged"),
        ("[" * 100_000, "damaged"),
        (json.dumps({**document, "schema": 2}), "newer lits-deploy"),
    ):
        path.write_text(text)
        with pytest.raises(OutputError, match=says):
            job.read()


def test_a_shard_that_is_not_says_so(job: JobFolder) -> None:
    plan = record(shards=tuple(written(job, ROWS)))
    assert plan.shard(1).number == 1
    for number in (-1, 2):
        with pytest.raises(OutputError, match=f"no shard {number}: they go from 0 to 1"):
            plan.shard(number)


def test_rows_that_are_not_the_planned_ones_are_refused(job: JobFolder, tmp_path: Path) -> None:
    entries = written(job, ROWS)
    for wrong in (
        replace(entries[0], row_group=1),
        replace(entries[0], row_group=7),
        replace(entries[0], digest=digest_of(ROWS[1])),
        replace(entries[0], plan="plan/none.parquet"),
    ):
        with pytest.raises(OutputError, match="shard 0 is not as it was planned"):
            list(job.rows(wrong))
    plan = tmp_path / "job" / entries[0].plan
    plan.write_bytes(plan.read_bytes()[:200])
    with pytest.raises(OutputError, match="damaged"):
        list(job.rows(entries[0]))


def test_a_shard_that_is_struck_out_by_hand_is_seen(job: JobFolder, tmp_path: Path) -> None:
    """The plan would be one without it, and the tables would lack its scans unsaid."""
    job.write(record(shards=tuple(written(job, ROWS))))
    path = tmp_path / "job" / "job.json"
    path.write_text(path.read_text().replace('"superseded": false', '"superseded": true', 1))
    with pytest.raises(OutputError, match="damaged"):
        job.read()


def test_a_digest_tells_content_and_no_times_of_the_inode() -> None:
    rows = ROWS[0]
    assert digest_of(rows) == digest_of([row._replace(ctime_ns=5, shard=9) for row in rows])
    for change in ({"mtime_ns": 5}, {"size": 5}, {"path": "b"}, {"series": "b"}, {"order": 5}, {"etag": "b"}):
        assert digest_of(rows) != digest_of([rows[0]._replace(**change), rows[1]])
    assert digest_of(rows) != digest_of(rows[::-1])


def test_lost_shards_of_a_record_are_seen(job: JobFolder) -> None:
    entries = written(job, ROWS)
    job.write(record(shards=(entries[1],)))
    with pytest.raises(OutputError, match="lost shards"):
        job.read()
    assert isinstance(record(), JobRecord)


def test_a_plan_that_cannot_be_written_or_read_is_one_line_and_not_called_damaged(
    job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = written(job, ROWS)
    (tmp_path / "job" / "job.json").mkdir()
    with pytest.raises(OutputError, match=r"cannot be written \(Is a directory\)"):
        job.write(record())

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("lits_deploy.sharding.job_folder.read_group", broken)
    with pytest.raises(OSError, match="Input/output error"):
        list(job.rows(entries[0]))
