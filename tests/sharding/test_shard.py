"""A shard is done once it is published, whatever happened before; what cannot be done is one line, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fake_runtime import FakeRuntime
from folder_runs import SIZE
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError, OutputError, UserError
from lits_deploy.ledger import Ledger
from lits_deploy.pipeline.stop import Stop
from lits_deploy.runtime.base import Batch, Outputs
from lits_deploy.sharding import shard as module
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.scratch import scratch
from lits_deploy.sharding.shard import run_shard, shard_number
from pictures import folder_of_slices, grey_pixels, save
from sharded import do_shards, merged, plan, work_on
from tiny_bundle import make_tiny_bundle

FAST: dict[str, Any] = {"pictures": False}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def job(bundle: Bundle, tmp_path: Path) -> Path:
    """A plan of two shards with 10 slices each."""
    scans = folder_of_slices(tmp_path / "scans", 20, size=SIZE)
    assert plan(bundle, scans, tmp_path / "job", 10).shards == 2
    return tmp_path / "job"


class Counting(FakeRuntime):
    """Counts the slices it answers; `at` is called before each batch."""

    def __init__(self, at: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(shape=(1, SIZE, SIZE))
        self.slices, self._at = 0, at

    def _infer(self, batch: Batch) -> Outputs:
        self._at(self.slices)
        self.slices += len(batch)
        return super()._infer(batch)


def published(job: Path) -> list[str]:
    return sorted(path.name[:5] for path in (job / "shards").glob("*.sqlite"))


def test_done_twice_and_twice_at_once_is_harmless(bundle: Bundle, job: Path) -> None:
    network = Counting()
    assert [one.state for one in do_shards(bundle, job, (0, 0), runtime=network, **FAST)] == ["published", "done"]
    assert network.slices == 10
    met = threading.Barrier(2, timeout=30)
    ends: list[Any] = []

    def do() -> None:
        def wait(slices: int) -> None:
            if slices == 0:
                met.wait()  # both are at it

        ends.append(do_shards(bundle, job, [1], runtime=Counting(wait), **FAST)[0].state)

    both = [threading.Thread(target=do) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert ends == ["published", "published"]
    assert published(job) == ["00000", "00001"]
    assert merged(job, job.parent / "out").run.slices == 20
    assert not list((job.parent / "scratch").iterdir())


def test_what_is_stopped_or_killed_goes_on_with_what_was_answered(
    bundle: Bundle, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()
    first = Counting(lambda slices: stop.request() if slices else None)
    (ended,) = do_shards(bundle, job, [0], runtime=first, stop=stop, **FAST)
    assert (ended.state, published(job)) == ("stopped", [])
    assert 0 < first.slices <= 10  # what has been decoded by then is answered, on a busy machine all of it

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    second = Counting()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_publish", dies)
        with pytest.raises(KeyboardInterrupt):
            do_shards(bundle, job, [0], runtime=second, **FAST)
    third = Counting()
    (ended,) = do_shards(bundle, job, [0], runtime=third, **FAST)
    assert (ended.state, published(job)) == ("published", ["00000"])
    assert (first.slices + second.slices, third.slices) == (10, 0)


def test_a_full_disk_while_publishing_loses_nothing(bundle: Bundle, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    network = Counting()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(OutputError, match=r"Shard 0 is done but cannot be published \(No space left.*Fix: make ro"):
            do_shards(bundle, job, [0], runtime=network, **FAST)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "copy_to", lambda *_: (_ for _ in ()).throw(OutputError("full")))
        with pytest.raises(OutputError, match="full"):
            do_shards(bundle, job, [0], runtime=network, **FAST)
    assert published(job) == []
    assert do_shards(bundle, job, [0], runtime=network, **FAST)[0].state == "published"
    assert network.slices == 10


def test_why_a_shard_failed_is_kept_and_the_merge_says_it(bundle: Bundle, job: Path) -> None:
    """Files that have changed since they were planned, or have gone, stop their own shard alone."""
    do_shards(bundle, job, [0], runtime=Counting(), **FAST)
    folder = JobFolder(str(job))
    first, second, *_ = (job.parent / "scans" / row.path for row in folder.rows(folder.read().shard(1)))
    first.unlink()
    os.utime(second, (1, 1))
    for _ in range(2):
        with pytest.raises(UserError, match=r"2 of 10 files of shard 1 have changed or gone.*Fix: lits-deploy plan ag"):
            do_shards(bundle, job, [1], runtime=Counting(), **FAST)
    summary = merged(job, job.parent / "out")
    assert summary.missing == (1,)
    assert "have changed or gone since they were planned" in summary.failures[1]
    assert summary.run.slices == 10


def test_what_is_no_shard_no_bundle_or_no_salt_of_the_job_is_one_line(
    bundle: Bundle, job: Path, tmp_path: Path
) -> None:
    other = make_tiny_bundle(tmp_path / "other", size=SIZE, crop=48)
    for number, work, says in (
        (2, work_on(bundle, job), r"The plan has no shard 2: they go from 0 to 1\. Fix: --shard 0 … 1"),
        (0, work_on(other, job), r"was planned for another bundle \(\w{12} there, \w{12} here\)\. Fix: "),
        (0, work_on(bundle, job, salt="another"), r"planned with another salt .*Fix: the --salt-file of"),
    ):
        with pytest.raises((UserError, BundleError), match=says) as caught:
            run_shard(JobFolder(str(job)), number, work)
        assert "\n" not in str(caught.value)
    do_shards(bundle, job, [0], runtime=Counting(), **FAST)
    with pytest.raises(UserError, match="another salt"):
        merged(job, tmp_path / "out", salt="another")
    with pytest.raises(BundleError, match="for another bundle"):
        merged(job, tmp_path / "out", bundle=other)
    assert not (tmp_path / "out").exists()


def test_a_superseded_shard_is_nothing_to_do(bundle: Bundle, job: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    save(scans / "study-0" / "slice-0000.jpg", grey_pixels(SIZE, 77))
    assert plan(bundle, scans, job, 10).superseded
    record = JobFolder(str(job)).read()
    number = next(entry.number for entry in record.shards if entry.superseded)
    assert do_shards(bundle, job, [number])[0].state == "superseded"


def test_a_published_ledger_is_compact_whole_and_says_who_answered(bundle: Bundle, job: Path) -> None:
    do_shards(bundle, job, [0], runtime=Counting(), **FAST)
    (path,) = (job / "shards").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as db:
        notes = dict(db.execute("SELECT key, value FROM meta"))
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert {"identity", "shard", "manifest", "ran"} <= notes.keys()
    assert "open" not in notes
    assert '"processor":' in notes["shard"]


def test_the_number_comes_from_the_user_or_an_array() -> None:
    assert shard_number("7", {}) == 7
    assert shard_number("auto", {"SLURM_ARRAY_TASK_ID": "3"}) == 3
    assert shard_number("auto", {"JOB_COMPLETION_INDEX": "0"}) == 0
    for text, environment in (("auto", {}), ("-1", {}), ("seven", {}), ("auto", {"SLURM_ARRAY_TASK_ID": "x"})):
        with pytest.raises(UserError, match=r"Fix: --shard"):
            shard_number(text, environment)
    with pytest.raises(UserError, match="`` is not a shard number"):
        shard_number("", {})


def test_two_at_once_have_folders_of_their_own_and_a_strangers_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scratch("one", tmp_path) as first, scratch("one", tmp_path) as second:
        assert first.folder != second.folder
        first.folder.mkdir()
        second.done = True
    with scratch("one", tmp_path) as again:
        assert again.folder == first.folder  # what is there goes on
        again.done = True
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    open_to_all = tmp_path / f"lits-deploy-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(OutputError, match="not a folder that only you can write to"), scratch("one"):
        pass
