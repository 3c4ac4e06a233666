"""The worker process: what it is told, what it does without JOB at hand, and that it proves its network first."""

from __future__ import annotations

import json
import select
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from folder_runs import SALT, SIZE
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.parity import Parity
from lits_deploy.pipeline.context import RunHooks
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.scans import Reading
from lits_deploy.scans.discover import Discovery
from lits_deploy.sharding import worker
from lits_deploy.sharding.child import Child, command
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.messages import ShardRequest, Start
from lits_deploy.sharding.plan import plan_scans
from lits_deploy.sharding.plan_record import PlanRequest
from lits_deploy.sharding.rows import PlanWriter
from lits_deploy.sharding.worker import Worker
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

LONG = 60.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", size=SIZE, crop=56)


@pytest.fixture
def job(bundle: Bundle, tmp_path: Path) -> JobFolder:
    scans = folder_of_slices(tmp_path / "scans", 6, size=SIZE)
    job = JobFolder(str(tmp_path / "job"))
    options = ClassifyOptions(salt=SALT)
    asked = PlanRequest(bundle=bundle, listing=Discovery([scans]), roots=[scans], options=options, shard_slices=3)
    plan_scans(asked, job)
    return job


def start(bundle: Bundle, **more: Any) -> Start:
    options = ClassifyOptions(salt=SALT, workers=1, **more.pop("options", {}))
    return Start(bundle=str(bundle.folder), options=options, **more)


def test_its_start_survives_the_pipe(job: JobFolder, tmp_path: Path) -> None:
    options = ClassifyOptions(
        salt=b"\xff\x00key",
        salt_file=None,
        ledger=tmp_path,
        formats=("csv", "parquet"),
        ignore=("*.tmp",),
        reading=Reading(any_body_part=True, trust="sform"),
    )
    begun = Start(bundle="/b", options=options, record=job.read(), cores=(0, 2), goldens=True, parent=7)
    assert Start.from_json(json.loads(json.dumps(begun.to_json()))) == begun


def test_a_shard_without_job_at_hand_gives_the_same_ledger(bundle: Bundle, job: JobFolder, tmp_path: Path) -> None:
    record, stop = job.read(), Stop()
    entry = record.shard(0)
    with (tmp_path / "rows.parquet").open("wb") as stream, PlanWriter(stream) as writer:
        writer.add(list(job.rows(entry)))
    said: list[str] = []
    with Worker(start(bundle, record=record, pictures=False)) as remote:
        asked = ShardRequest(
            shard=0, entry=asdict(entry), rows=str(tmp_path / "rows.parquet"), ledger=str(tmp_path / "there")
        )
        assert remote.do(asked, RunHooks(stop=stop), said.append).state == "published"
    assert not job.is_published(entry)
    job.publish(entry, tmp_path / "there")
    with Worker(start(bundle, job=job.location, pictures=False)) as local:
        assert local.do(ShardRequest(shard=0), RunHooks(stop=stop), said.append).state == "done"
        assert local.do(ShardRequest(shard=1), RunHooks(stop=stop), said.append).state == "published"
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o600
    assert job.missing(record) == []


def test_another_bundle_than_the_jobs_is_refused(
    bundle: Bundle, job: JobFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = make_tiny_bundle(tmp_path_factory.mktemp("other") / "tiny", size=SIZE, crop=48)
    with pytest.raises(BundleError, match="was planned for another bundle"), Worker(start(other, job=job.location)):
        pass


def test_a_network_that_misses_its_goldens_does_no_shard(
    bundle: Bundle, job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[Parity] = []

    def compare(network: Any, slices: Any, expected: Any, tolerance: float) -> Parity:
        compared.append(Parity(tolerance, slices=3, max_delta=0.25))
        return compared[0]

    with Worker(start(bundle, job=job.location, goldens=True)):
        pass  # as it is, it passes
    monkeypatch.setattr(worker, "compare", compare)
    with Worker(start(bundle, job=job.location)):
        assert compared == []  # unless it is asked for
    with (
        pytest.raises(
            BundleError, match=r"fp32 does not answer its goldens on .* \(max \|Δp\| 2\.50e-01, 1e-05 allowed"
        ),
        Worker(start(bundle, job=job.location, goldens=True)),
    ):
        pass


def received(child: Child, until: str) -> list[dict[str, Any]]:
    """What a child says up to the message of that key, or to its end."""
    messages: list[dict[str, Any]] = []
    begun = time.monotonic()
    while child.out is not None and not any(until in message for message in messages):
        assert time.monotonic() < begun + LONG
        if select.select([child.out], [], [], 1.0)[0]:
            messages += child.receive()
    return messages


def test_it_speaks_lines(bundle: Bundle, job: JobFolder, tmp_path: Path) -> None:
    child = Child(start(bundle, job=job.location).to_json(), command())
    try:
        (joined,) = received(child, "joined")
        assert (joined["joined"]["device"], joined["joined"]["precision"]) == ("cpu", "fp32")
        child.send({"shard": 0})
        assert received(child, "published")[-1] == {"published": 3, "failed": 0, "warnings": []}
        (tmp_path / "scans" / "study-1").rename(tmp_path / "gone")
        child.send({"shard": 1})
        (refused,) = [message for message in received(child, "refused") if "refused" in message]
        assert "have changed or gone since they were planned" in refused["refused"]
        child.send({"stop": True})
        child.send({"shard": 1})
    finally:
        child.close(kill=False)
    assert not Path(f"/proc/{child._process.pid}").exists()


def test_one_that_cannot_work_says_so_and_ends(bundle: Bundle, job: JobFolder, tmp_path: Path) -> None:
    document = start(bundle, job=job.location).to_json()
    child = Child({**document, "bundle": str(tmp_path / "nothing")}, command())
    (broken,) = received(child, "broken")
    assert broken["broken"]
    assert received(child, "never") == []
    assert child.ended() == "exit code 2"
    child.close(kill=True)
