"""Pseudonyms: stable under one salt, telling nothing under another; the salt is the owner's alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lits_deploy.errors import OutputError
from lits_deploy.pseudonyms import SALT_FILE, Pseudonyms, salt_of


def test_equal_inputs_of_one_salt_have_equal_names_and_others_do_not() -> None:
    names, other = Pseudonyms(salt=b"one"), Pseudonyms(salt=b"two")
    assert names.of("series", "1.2.3") == names.of("series", "1.2.3")
    assert len({names.of("series", "1.2.3"), names.of("study", "1.2.3"), other.of("series", "1.2.3")}) == 3
    assert names.of("series", "1.2.3") != Pseudonyms(salt=b"one").of("series", "1.2.4")
    assert len(names.of("series", "\udcff")) == 12


def test_paths_are_written_unless_they_are_hashed() -> None:
    assert Pseudonyms(salt=b"s").path("a/b.png") == "a/b.png"
    assert "b" not in {Pseudonyms(salt=b"s", paths=True).path("a/b.png")}


def test_the_mark_tells_runs_apart_that_name_differently() -> None:
    marks = {Pseudonyms(salt=salt, identify=i, paths=p).mark for salt in (b"1", b"2") for i in (0, 1) for p in (0, 1)}
    assert len(marks) == 8


def test_a_folder_keeps_its_salt_and_a_given_one_is_not_written(tmp_path: Path) -> None:
    first = salt_of(tmp_path, None)
    assert len(first) == 16
    assert salt_of(tmp_path, None) == first
    assert stat.S_IMODE((tmp_path / SALT_FILE).stat().st_mode) == 0o600
    (tmp_path / "b").mkdir()
    assert salt_of(tmp_path / "b", "mine") == b"mine"
    assert not (tmp_path / "b" / SALT_FILE).exists()
    assert salt_of(tmp_path / "b", None) != first


def test_a_salt_that_cannot_be_read_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / SALT_FILE).write_text("not hex")
    with pytest.raises(OutputError, match="--salt"):
        salt_of(tmp_path, None)
