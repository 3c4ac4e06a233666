"""Pseudonyms: stable under one salt, telling nothing under another; the salt is the owner's alone."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from lits_deploy.errors import OutputError, UserError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pseudonyms import SALT_FILE, Pseudonyms, salt_of
from named_pipes import not_waiting_for


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
    before = os.umask(0)
    try:
        first = salt_of(tmp_path, None)
    finally:
        os.umask(before)
    assert len(first) == 16
    assert stat.S_IMODE((tmp_path / SALT_FILE).stat().st_mode) == 0o600
    assert salt_of(tmp_path, None) == first
    (tmp_path / "b").mkdir()
    assert salt_of(tmp_path / "b", "mine") == salt_of(tmp_path, "mine") != first
    assert not (tmp_path / "b" / SALT_FILE).exists()
    assert salt_of(tmp_path / "b", None) != first


def test_a_salt_that_cannot_be_read_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / SALT_FILE).write_text("not hex")
    with pytest.raises(OutputError, match="--salt-file"):
        salt_of(tmp_path, None)


def salt_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "salt"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_salt_in_a_file_is_the_one_that_the_text_would_be(tmp_path: Path) -> None:
    assert salt_of(tmp_path, None, salt_file(tmp_path, " ward 3\n")) == salt_of(tmp_path, "ward 3")
    assert not (tmp_path / SALT_FILE).exists()


def test_the_salt_of_one_folder_serves_another(tmp_path: Path) -> None:
    """How pseudonyms stay the same when a new bundle needs a new OUT."""
    first = salt_of(tmp_path, None)
    assert salt_of(tmp_path / "elsewhere", None, tmp_path / SALT_FILE) == first


def test_a_salt_in_words_gives_the_pseudonyms_that_it_always_gave() -> None:
    """Of commit 433dbed: an update must not give patients other names."""
    assert Pseudonyms(salt=salt_of(Path("unused"), "ward 3")).of("series", "2.25.2") == "788e36e4a9f0"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610])
def test_a_salt_file_that_others_may_read_is_refused_and_not_quoted(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UserError, match=r"read by others.*chmod 600") as error:
        salt_of(tmp_path, None, salt_file(tmp_path, "WARD THREE", mode))
    assert "WARD THREE" not in str(error.value)


@pytest.mark.parametrize("text", ["", " \n", "x" * 5000])
def test_a_salt_file_without_a_salt_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="holds no salt"):
        salt_of(tmp_path, None, salt_file(tmp_path, text))


def test_a_salt_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read.*openssl rand"):
        salt_of(tmp_path, None, tmp_path / "missing")
    with pytest.raises(UserError, match="is no file"):
        salt_of(tmp_path, None, tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(UserError, match="is no file"):
        not_waiting_for(tmp_path / "pipe", lambda: salt_of(tmp_path, None, tmp_path / "pipe"))


def test_a_salt_in_words_and_in_a_file_is_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="A salt and a salt file name the same thing"):
        ClassifyOptions(salt="a", salt_file=tmp_path / "salt")


def test_a_files_hash_is_written_as_it_is_only_where_paths_are() -> None:
    digest = hashlib.sha256(b"a scan").hexdigest()
    clear, hidden, other = (Pseudonyms(salt=s, paths=p) for s, p in ((b"1", False), (b"1", True), (b"2", True)))
    assert clear.sha256(digest) == digest
    assert len({digest, hidden.sha256(digest), other.sha256(digest)}) == 3
    assert len(hidden.sha256(digest) or "") == 64
    assert hidden.sha256(digest) == hidden.sha256(digest)
    assert hidden.sha256(None) is None


def test_a_folders_mark_fits_too_many_ids_to_find_one() -> None:
    names = Pseudonyms(salt=b"known to the attacker")
    marks = [names.base(f"/srv/scans/{number}") for number in range(20_000)]
    assert max(map(marks.count, set(marks))) < 40
    assert marks.count(names.base("/srv/scans/1234")) > 1
    assert len(set(marks)) > 3000
