"""Lock files: what stands under their name is neither followed, nor waited for, nor opened to others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lits_deploy.errors import OutputError
from lits_deploy.locks import open_lock, take_lock
from lits_deploy.pipeline.output import LOCK, OutputFolder
from lits_deploy.watch.folders import LOCK as WATCH_LOCK
from lits_deploy.watch.folders import alone


def test_a_lock_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        descriptor = open_lock(tmp_path / "lock")
    finally:
        os.umask(before)
    assert os.fstat(descriptor).st_mode & 0o777 == 0o600
    os.close(descriptor)


def test_a_link_or_a_pipe_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "made")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="the lock link is a link"):
        open_lock(tmp_path / "link")
    with pytest.raises(OSError, match="not a regular file"):
        open_lock(tmp_path / "pipe")
    assert not (tmp_path / "made").exists()


def test_a_lock_has_one_holder_who_may_take_its_file_away(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = take_lock(path)
    assert first is not None
    assert take_lock(path) is None
    path.unlink()
    second = take_lock(path)
    assert second is not None
    for descriptor in (first, second):
        os.close(descriptor)
    third = take_lock(path)
    assert third is not None
    os.close(third)


def test_a_run_and_a_watch_follow_no_lock_that_is_a_link(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in (LOCK, WATCH_LOCK):
        (out / name).symlink_to(tmp_path / "made")
    with pytest.raises(OutputError, match="is a link"), OutputFolder(out):
        pass
    with pytest.raises(OutputError, match="is a link"), alone(out):
        pass
    assert not (tmp_path / "made").exists()
