"""How changes are noticed: notices where they work, looking again where they do not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lits_deploy.errors import MissingExtra
from lits_deploy.pipeline.stop import Stop
from lits_deploy.watch import changes
from lits_deploy.watch.changes import Notices, Polling, changes_in, file_system


@contextmanager
def noticing(
    folder: Path, *, quiet_s: float = 30, poll: bool = False, stop: Stop | None = None
) -> Iterator[tuple[Any, list[str]]]:
    said: list[str] = []
    with closing(changes_in(folder, stop or Stop(), quiet_s=quiet_s, poll=poll, warn=said.append)) as source:
        yield source, said


def test_notices_name_the_entries_that_changed(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    stop = Stop()
    with noticing(tmp_path, stop=stop) as (source, said):
        if not isinstance(source, Notices):
            pytest.skip(f"no notices on this file system ({file_system(tmp_path)}, {said})")
        (tmp_path / "study" / "deep").mkdir(parents=True)
        (tmp_path / "volume.nii").write_text("x")
        seen: set[str] = set()
        for _ in range(20):
            seen |= source.wait(1.0) or set()
            if seen == {"study", "volume.nii"}:
                break
        assert seen == {"study", "volume.nii"}
        stop.request()
        assert source.wait(1000.0) == set()


@pytest.mark.parametrize("there_before", [False, True])
def test_a_name_that_is_not_utf_8_ends_the_notices_not_the_watch(tmp_path: Path, there_before: bool) -> None:
    pytest.importorskip("watchfiles")
    hostile = tmp_path / os.fsdecode(b"Miller-\xff")
    if there_before:
        hostile.mkdir()
    with noticing(tmp_path, quiet_s=0) as (source, said):
        if not isinstance(source, Notices) and "UTF-8" not in "".join(said):
            pytest.skip("no notices on this file system")
        hostile.mkdir(exist_ok=True)
        (hostile / "file").touch()
        assert any(source.wait(1.0) is None for _ in range(20))
        assert source.wait(0.0) is None  # from now on everything is looked at
        assert said == ["The system gives no notices of changes (a name is not UTF-8): looking every 1 s instead."]


def test_asked_to_poll_or_on_a_share_it_looks_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for quiet_s, seconds in ((1000, 15), (0, 1)):
        with noticing(tmp_path, poll=True, quiet_s=quiet_s) as (source, _):
            assert source.method == f"looking every {seconds} s"
    for kind in ("nfs4", "cifs", "fuse.sshfs"):
        monkeypatch.setattr(changes, "file_system", lambda _, kind=kind: kind)
        with noticing(tmp_path, quiet_s=10) as (source, said):
            assert isinstance(source, Polling)
            assert (source.method, said) == ("looking every 5 s", [])


def test_polling_ends_when_asked_to_stop(tmp_path: Path) -> None:
    stop = Stop()
    source = Polling(stop, 1000.0)
    assert source.wait(0.0) is None
    stop.request()
    assert source.wait(1000.0) is None
    source.close()


def test_where_the_system_gives_no_notices_it_says_so_and_polls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(changes, "Notices", refuse)
    with noticing(tmp_path) as (source, said):
        assert isinstance(source, Polling)
    assert said == ["The system gives no notices of changes (no space left on device): looking every 15 s instead."]


def test_without_watchfiles_the_extra_is_named_and_polling_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    monkeypatch.setattr(changes, "file_system", lambda _: "ext4")
    with pytest.raises(MissingExtra, match=r"lits-deploy\[watch\]"), noticing(tmp_path):
        pass
    with noticing(tmp_path, poll=True) as (source, _):
        assert isinstance(source, Polling)


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = "\n".join(
        f"1 1 0:1 / {point} rw - {kind} source rw"
        for point, kind in (("/", "ext4"), ("/mnt", "xfs"), (r"/mnt/in\040box", "cifs"), ("/mnt/in", "tmpfs"))
    )
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: mounts)
    assert file_system(Path("/mnt/in box/study")) == "cifs"
    assert file_system(Path("/mnt/inbox")) == "xfs"
    assert file_system(Path("/home")) == "ext4"
