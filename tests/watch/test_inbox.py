"""The inbox: complete is what has been quiet for a while, and what changes is taken again."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path

import pytest

from lits_deploy.watch.inbox import EMPTY, Inbox, state_of


class Book:
    """An inbox under test, with what has been done with it."""

    def __init__(self, folder: Path) -> None:
        self.done: dict[str, str] = {}
        self.inbox = Inbox(folder, quiet_s=30, is_done=lambda name, state: self.done.get(name, EMPTY) == state)

    def finish(self, *names: str) -> None:
        self.done |= self.inbox.states(names)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def put(folder: Path, name: str, content: str = "x") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_an_entry_is_complete_once_it_has_been_quiet(tmp_path: Path, book: Book) -> None:
    put(tmp_path, "a/1.dcm")
    book.inbox.look(100)
    assert book.inbox.complete(129.9) == []
    assert book.inbox.next_due() == 130
    assert book.inbox.complete(130) == ["a"]
    book.finish("a")
    assert book.inbox.complete(131) == []
    assert book.inbox.next_due() == inf


def test_a_growing_file_and_a_new_file_start_the_wait_anew_without_any_notice(tmp_path: Path, book: Book) -> None:
    put(tmp_path, "a/1.dcm")
    book.inbox.look(0)
    put(tmp_path, "a/1.dcm", "xx")
    assert book.inbox.complete(30) == []  # it looks again before it says so
    assert book.inbox.next_due() == 60
    put(tmp_path, "a/deep/er/2.dcm")
    book.inbox.look(40, {"a"})
    assert book.inbox.complete(60) == []
    assert book.inbox.complete(70) == ["a"]


def test_one_study_waits_while_another_is_complete(tmp_path: Path, book: Book) -> None:
    put(tmp_path, "old/1.dcm")
    book.inbox.look(0)
    put(tmp_path, "new/1.dcm")
    book.inbox.look(20)
    assert book.inbox.complete(35) == ["old"]
    assert book.inbox.complete(50) == ["old", "new"]


def test_a_study_that_changes_after_it_was_done_is_taken_again(tmp_path: Path, book: Book) -> None:
    put(tmp_path, "a/1.dcm")
    book.inbox.look(0)
    book.finish("a")
    os.utime(tmp_path / "a/1.dcm", ns=(5, 5))
    book.inbox.look(100)
    assert book.inbox.complete(100) == []
    assert book.inbox.complete(130) == ["a"]


def test_names_of_copies_are_no_entries_but_keep_an_entry_waiting(tmp_path: Path, book: Book) -> None:
    for name in ("a.part", "b.TMP/1.dcm", ".hidden/1.dcm", ".1.dcm.Xk2p", "c~", "d.zip.crdownload"):
        put(tmp_path, name)
    put(tmp_path, "study/1.dcm")
    put(tmp_path, "study/2.dcm.part")
    book.inbox.look(0)
    assert len(book.inbox) == 1
    put(tmp_path, "study/2.dcm.part", "growing")
    assert book.inbox.complete(30) == []
    (tmp_path / "study/2.dcm.part").rename(tmp_path / "study/2.dcm")
    assert book.inbox.complete(60) == []
    assert book.inbox.complete(90) == ["study"]


def test_a_file_is_an_entry_and_an_empty_folder_is_not_to_do(tmp_path: Path, book: Book) -> None:
    put(tmp_path, "volume.nii")
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    book.inbox.look(0)
    assert book.inbox.to_do() == 1
    assert book.inbox.complete(30) == ["volume.nii"]


def test_an_entry_that_lost_its_files_is_to_do_if_it_was_done_with_them(tmp_path: Path, book: Book) -> None:
    put(tmp_path, "a/1.dcm")
    book.inbox.look(0)
    book.finish("a")
    (tmp_path / "a/1.dcm").unlink()
    book.inbox.look(10)
    assert book.inbox.complete(40) == ["a"]


def test_an_entry_that_is_gone_is_forgotten(tmp_path: Path, book: Book) -> None:
    put(tmp_path, "a")
    book.inbox.look(0)
    (tmp_path / "a").unlink()
    assert book.inbox.complete(30) == []
    assert len(book.inbox) == 0


def test_what_was_put_off_comes_later_or_when_it_changes(tmp_path: Path, book: Book) -> None:
    put(tmp_path, "a")
    book.inbox.look(0)
    book.inbox.put_off(["a"], 500)
    assert (book.inbox.complete(400), book.inbox.next_due(), book.inbox.tries("a")) == ([], 500, 1)
    book.inbox.put_off(["a"], inf)
    assert book.inbox.complete(1e9) == []
    put(tmp_path, "a", "changed")
    book.inbox.look(1e9)
    assert book.inbox.tries("a") == 0
    assert book.inbox.complete(1e9 + 30) == ["a"]


def test_links_unreadable_names_and_vanished_things_have_a_state(tmp_path: Path) -> None:
    put(tmp_path, "real/1.dcm")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "nowhere").symlink_to("none")
    (tmp_path / "real" / "loop").symlink_to("..")
    assert state_of(tmp_path / "link") == state_of(tmp_path / "real")
    assert state_of(tmp_path / "nowhere") == EMPTY
    assert state_of(tmp_path / "not there") is None
    before = state_of(tmp_path / "real")
    (tmp_path / "real" / os.fsdecode(b"caf\xe9")).write_text("")
    assert state_of(tmp_path / "real") not in (before, EMPTY)


def test_a_file_that_was_given_its_old_size_and_time_back_is_another_state(tmp_path: Path) -> None:
    put(tmp_path, "a/1.dcm")
    before, times = state_of(tmp_path / "a"), (tmp_path / "a/1.dcm").stat()
    put(tmp_path, "a/1.dcm", "y")
    os.utime(tmp_path / "a/1.dcm", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert state_of(tmp_path / "a") != before
