"""JOB in a bucket: planned, planned again and published as in a folder, with failures of the store in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from listings import File, answers_of, live_rows, plan
from lits_deploy.bundle import Bundle
from lits_deploy.errors import OutputError, StorageError
from lits_deploy.sharding.job_folder import JobFolder
from s3_server import S3Server
from tiny_bundle import make_tiny_bundle

FILES = [File(f"{series}/{n}.dcm", series=series, at=5.0 * n) for series in "abc" for n in range(4)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path) -> str:
    name: str = server.bucket(tmp_path.name.replace("_", "-").lower())
    return name


def test_a_plan_in_a_bucket_is_that_of_a_folder(bundle: Bundle, server: S3Server, bucket: str, tmp_path: Path) -> None:
    server.fault(share=0.1, status=500)
    job = JobFolder(f"s3://{bucket}/deep/job")
    for where in (job, tmp_path / "job"):
        plan(bundle, FILES[:8], where, most=4)
        summary = plan(bundle, [*FILES[1:]], where)
        assert (summary.superseded, summary.shards, summary.changes) == ((0,), 3, (4, 0, 1))
    assert live_rows(job) == live_rows(tmp_path / "job")
    assert job.read().shards == JobFolder(str(tmp_path / "job")).read().shards
    (tmp_path / "ledger").write_bytes(b"answers" * 1000)
    entry = job.read().shard(1)
    job.publish(entry, tmp_path / "ledger")
    assert job.published(job.read()) == [entry]
    job.fetch(entry, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"answers" * 1000
    assert plan(bundle, FILES[1:], job).done == 1


def test_a_planner_that_is_ended_leaves_headers_there_and_the_next_takes_them_away(
    bundle: Bundle, server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lits_deploy.sharding.headers.PIECE", 3)
    monkeypatch.setattr("lits_deploy.sharding.headers._LOT", 1)
    job = JobFolder(f"s3://{bucket}/job")

    def interrupted(what: str, files: int) -> None:
        if files == 7 and what == "headers":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan(bundle, FILES, job, on_progress=interrupted)
    assert len([key for key in server.keys(bucket) if key.startswith("job/headers/")]) == 2
    assert not job.exists()
    reader, read = answers_of(FILES)
    plan(bundle, FILES, job, open_reader=reader)
    assert read == [file.path for file in FILES[6:]]
    assert [key for key in server.keys(bucket) if ".parquet" in key and "headers" in key] == []


def test_two_planners_at_once_are_seen(bundle: Bundle, bucket: str) -> None:
    job = JobFolder(f"s3://{bucket}/job")
    plan(bundle, FILES[:4], job)

    class Meanwhile(list[File]):
        def __iter__(self) -> Iterator[File]:
            yield from super().__iter__()
            before = job.read()
            job.write(replace(before, generation=before.generation + 1))

    with pytest.raises(OutputError, match="meanwhile"):
        plan(bundle, Meanwhile(FILES), job, open_reader=answers_of(FILES)[0])


def test_a_store_that_takes_nothing_is_one_line(bundle: Bundle, server: S3Server, bucket: str) -> None:
    server.fault(match="PUT .*", status=403, code="AccessDenied")
    with pytest.raises(StorageError, match="cannot be written: access denied"):
        plan(bundle, FILES, JobFolder(f"s3://{bucket}/job"))
