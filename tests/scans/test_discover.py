"""Discovery: the right files under the right names, loops that end, nothing silent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lits_deploy.errors import UserError
from lits_deploy.scans import discover
from lits_deploy.scans.discover import UNREADABLE, Discovery


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def names(*roots: Path, **options: Any) -> list[str]:
    return sorted(found.path for found in Discovery(roots, **options))


def test_one_root_gives_paths_below_it(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.PNG", "a.jpg", "a/c.jpeg", "a/c.jpe"):
        touch(tmp_path / name)
    assert names(tmp_path) == ["a.jpg", "a/c.jpe", "a/c.jpeg", "b/1.PNG", "b/2.png"]
    assert names(tmp_path, recursive=False) == ["a.jpg"]


def test_records_hold_size_and_time_and_lead_back_to_the_file(tmp_path: Path) -> None:
    file = touch(tmp_path / "a.png")
    discovery = Discovery([tmp_path])
    (found,) = discovery
    assert (found.size, found.mtime_ns, found.reason) == (1, file.stat().st_mtime_ns, None)
    assert Path(discovery.real_path(found.path)).samefile(file)


def test_a_single_file_is_its_name_and_several_roots_share_a_parent(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "x/1.png"), touch(tmp_path / "y/1.png")
    assert names(one) == ["1.png"]
    assert names(one, two) == ["x/1.png", "y/1.png"]
    assert names(tmp_path / "x", tmp_path / "y") == ["x/1.png", "y/1.png"]
    assert set(names(tmp_path / "x", tmp_path, one)) == {"x/1.png", "y/1.png"}


def test_hidden_files_the_output_and_other_files_are_no_scans(tmp_path: Path) -> None:
    for name in (".a.png", ".git/b.png", "out/old.png", "c.png", "notes.txt", "series.dcm", "README"):
        touch(tmp_path / name)
    discovery = Discovery([tmp_path], skip=[tmp_path / "out"])
    assert [found.path for found in discovery] == ["c.png"]
    assert discovery.others == {".txt": 1, ".dcm": 1, "": 1}
    assert names(tmp_path / "out", skip=[tmp_path / "out"]) == ["old.png"]  # named: walked


def test_a_hidden_root_is_walked_because_it_was_named(tmp_path: Path) -> None:
    touch(tmp_path / ".cache/a.png")
    assert names(tmp_path / ".cache") == ["a.png"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "real/a.png")
    touch(tmp_path.with_name("elsewhere") / "b.png")
    (tmp_path / "real/loop").symlink_to(tmp_path)
    (tmp_path / "a-link").symlink_to(tmp_path / "real")  # before "real" in order, yet the real name wins
    (tmp_path / "outside").symlink_to(tmp_path.with_name("elsewhere"))
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "file.png").symlink_to(tmp_path / "real/a.png")
    assert names(tmp_path) == ["file.png", "outside/b.png", "real/a.png", "self.png"]


def test_what_is_there_but_cannot_be_read_is_a_record_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    reasons = {found.path: (found.size, found.reason) for found in Discovery([tmp_path])}
    assert reasons == {
        "broken.png": (UNREADABLE, "the file cannot be read (no such file or directory)"),
        "pipe.png": (UNREADABLE, "not a regular file"),
    }


def test_a_folder_that_cannot_be_listed_is_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "locked/a.png")
    touch(tmp_path / "open/b.png")
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:  # root may read everything, so permissions cannot be tested
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(discover.os, "scandir", refuse)
    found = {record.path: record.reason for record in Discovery([tmp_path])}
    assert found == {"locked/": "the folder cannot be listed (permission denied)", "open/b.png": None}


def test_a_named_file_of_another_kind_is_a_record(tmp_path: Path) -> None:
    (found,) = Discovery([touch(tmp_path / "scan.dcm")])
    assert found.path == "scan.dcm"
    assert found.reason == "its suffix is none of those that are read: .jpe .jpeg .jpg .png"


def test_a_root_that_is_not_there_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        Discovery([tmp_path / "nope"])


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(raw)).write_bytes(b"x")
    discovery = Discovery([tmp_path])
    (found,) = discovery
    assert found.path == "caf\\xe9.png"
    assert os.fsencode(discovery.real_path(found.path)) == raw


def test_suffixes_of_other_files_cannot_fill_memory(tmp_path: Path) -> None:
    for number in range(80):
        touch(tmp_path / f"image.{number:04d}")
    discovery = Discovery([tmp_path])
    assert list(discovery) == []
    assert len(discovery.others) <= 51
    assert sum(discovery.others.values()) == 80
