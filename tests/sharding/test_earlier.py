"""Planned again: scans that seem to be gone stop it, and files that only seem to have changed cost nothing."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from listings import SALT, File, plan
from lits_deploy.bundle import Bundle
from lits_deploy.errors import OutputError
from lits_deploy.files import sha256_file
from lits_deploy.ledger import OK, FileRow, Ledger
from lits_deploy.pipeline.naming import Naming
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.scans.discover import Discovery
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.job_options import names_of
from lits_deploy.sharding.plan import PlanSummary, plan_scans
from lits_deploy.sharding.plan_record import PlanRequest
from pictures import encoded, grey_pixels
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for folder in "ab":
        (tmp_path / "scans" / folder).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "scans" / folder / f"{number}.png").write_bytes(encoded(grey_pixels(seed=number)))
    return tmp_path / "scans"


def _plan(bundle: Bundle, scans: Path, job: JobFolder, **options: bool) -> PlanSummary:
    given = ClassifyOptions(salt=SALT, **options)  # type: ignore[arg-type]
    asked = PlanRequest(bundle=bundle, listing=Discovery([scans]), roots=[scans], options=given, shard_slices=3)
    return plan_scans(asked, job)


def _publish(job: JobFolder, number: int, scans: Path, folder: Path, *, pseudonymous: bool = False) -> None:
    """Answer a shard, without answers: its ledger has the hashes of its files."""
    naming = Naming(names=names_of(ClassifyOptions(salt=SALT, pseudonymous=pseudonymous)))
    entry = job.read().shard(number)
    folder.mkdir()
    with Ledger(folder) as ledger:
        ledger.stage((row.found for row in job.rows(entry)), naming.path)
        ledger.adopt({"bundle": "b"}, "base")
        rows = {naming.path(row.path): scans / row.path for row in job.rows(entry)}
        hashes = {file: naming.sha256(sha256_file(rows[path])) for file, path, *_ in ledger.pending(100)}
        ledger.record((), [FileRow(file, OK, None, sha256, None) for file, sha256 in hashes.items()])
    job.publish(entry, folder / "ledger.sqlite")


def _rewrite(path: Path, data: bytes) -> None:
    """Other content, under the old size and time."""
    was = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


@pytest.mark.parametrize("pseudonymous", [False, True])
def test_a_ctime_alone_supersedes_nothing_that_is_done(
    bundle: Bundle, scans: Path, tmp_path: Path, pseudonymous: bool
) -> None:
    job = JobFolder(str(tmp_path / "job"))
    _plan(bundle, scans, job, pseudonymous=pseudonymous)
    before = job.read()
    _publish(job, 0, scans, tmp_path / "ledger", pseudonymous=pseudonymous)
    for path in scans.rglob("*.png"):
        path.chmod(0o640)
    summary = _plan(bundle, scans, job, pseudonymous=pseudonymous)
    after = job.read()
    assert (summary.superseded, summary.new, summary.done) == ((), 0, 1)
    assert [entry.digest for entry in after.shards] == [entry.digest for entry in before.shards]
    assert {row.ctime_ns for entry in after.live for row in job.rows(entry)} == {
        path.stat().st_ctime_ns for path in scans.rglob("*.png")
    }
    assert [list(job.rows(entry)) for entry in before.live]  # by which a worker may still go
    assert _plan(bundle, scans, job, pseudonymous=pseudonymous).done == 1
    assert job.read() == after  # the times are known now


def test_other_bytes_behind_size_and_time_supersede_what_is_done(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    job = JobFolder(str(tmp_path / "job"))
    _plan(bundle, scans, job)
    _publish(job, 0, scans, tmp_path / "ledger")
    data = bytearray((scans / "a" / "1.png").read_bytes())
    data[-20] ^= 1
    _rewrite(scans / "a" / "1.png", bytes(data))
    assert _plan(bundle, scans, job).superseded == (0,)


def test_a_ledger_that_is_damaged_is_done_again_where_in_doubt(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    job = JobFolder(str(tmp_path / "job"))
    _plan(bundle, scans, job)
    (tmp_path / "ledger").write_bytes(b"no ledger" * 1000)
    job.publish(job.read().shard(0), tmp_path / "ledger")
    (scans / "a" / "1.png").chmod(0o640)
    assert _plan(bundle, scans, job).superseded == (0,)


def test_scans_that_seem_to_be_gone_stop_it(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    job = JobFolder(str(tmp_path / "job"))
    _plan(bundle, scans, job)
    before = job.read()
    shutil.rmtree(scans / "a")
    (scans / "a").mkdir()
    with pytest.raises(OutputError, match=r"3 of 6 scans that were planned seem to be gone: one of their top-level"):
        _plan(bundle, scans, job)
    assert job.read() == before
    summary = _plan(bundle, scans, job, allow_removed=True)
    assert (summary.superseded, summary.changes.gone) == ((0,), 3)


def test_one_file_that_is_gone_is_no_reason_to_stop(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    job = JobFolder(str(tmp_path / "job"))
    _plan(bundle, scans, job)
    (scans / "a" / "1.png").unlink()
    assert _plan(bundle, scans, job).superseded == (0,)


def test_mounts_and_folders_that_cannot_be_listed_stop_it(bundle: Bundle, tmp_path: Path) -> None:
    files = [*(File(f"a/{n}.dcm") for n in range(3)), File("b/1.dcm", series="b")]
    plan(bundle, files, tmp_path / "job", mounts={"a"})
    for less, more, says in (
        (files[1:], {}, "was a mount point and is none now"),
        (files[1:], {"mounts": {"a"}, "unlisted": {"a": "I/O"}}, "cannot be listed \\(I/O\\)"),
        ([File("c/1.dcm")], {"mounts": {"a"}}, "none of them was found"),
    ):
        with pytest.raises(OutputError, match=says):
            plan(bundle, less, tmp_path / "job", **more)  # type: ignore[arg-type]
    assert plan(bundle, files[1:], tmp_path / "job", mounts={"a"}).changes.gone == 1


def test_failures_of_their_own_may_go(bundle: Bundle, tmp_path: Path) -> None:
    link = File("link", reason="a link that leads out")
    plan(bundle, [File("a.dcm"), link], tmp_path / "job")
    assert plan(bundle, [File("a.dcm")], tmp_path / "job", tops=set()).changes.gone == 1
    assert replace(link, reason=None).found.size > 0
