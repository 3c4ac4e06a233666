"""A folder and a bucket are the same store to whoever uses them."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lits_deploy import private
from lits_deploy.errors import OutputError, StorageError
from lits_deploy.storage import Store, store_at
from lits_deploy.storage.local import LocalStore
from s3_server import S3Server


@pytest.fixture(params=["folder", "file-url", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "bucket":
        server: S3Server = request.getfixturevalue("server")
        bucket = server.bucket(f"t-{os.urandom(6).hex()}")
        yield store_at(f"s3://{bucket}/some/where", server.endpoint)
    else:
        folder = tmp_path / "a b"
        yield store_at(str(folder) if request.param == "folder" else f"file://{tmp_path}/a%20b")


def test_what_is_written_is_read(store: Store, tmp_path: Path) -> None:
    store.write("one/two.bin", b"12")
    (tmp_path / "large").write_bytes(large := os.urandom(25_000_000))
    (tmp_path / "empty").touch()
    store.put("one/large", tmp_path / "large")
    store.put("empty", tmp_path / "empty")

    assert store.read("one/two.bin") == b"12"
    assert store.read("empty") == b""
    assert store.read("one/large") == large
    store.get("one/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o600
    assert sorted(store.names()) == ["empty", "one/large", "one/two.bin"]
    assert sorted(store.names("one/")) == ["one/large", "one/two.bin"]
    assert sorted((entry.name, entry.is_folder, entry.size) for entry in store.entries()) == [
        ("empty", False, 0),
        ("one", True, 0),
    ]


def test_what_is_written_again_is_replaced_and_another_version(store: Store) -> None:
    store.write("x", b"before")
    before = store.stat("x")
    store.write("x", b"after!")
    after = store.stat("x")

    assert store.read("x") == b"after!"
    assert before is not None
    assert after is not None
    assert (before.size, after.size) == (6, 6)
    assert before.version != after.version
    assert 0 <= after.version < 1 << 63


def test_what_is_not_there(store: Store, tmp_path: Path) -> None:
    assert not store.exists("nothing")
    assert store.stat("a/b") is None
    assert list(store.names("nowhere/")) == []
    store.remove("nothing")
    for ask in (lambda: store.read("nothing"), lambda: store.open("nothing"), lambda: list(store.entries("nowhere"))):
        with pytest.raises(FileNotFoundError):
            ask()
    with pytest.raises(FileNotFoundError):
        store.get("nothing", tmp_path / "x")


def test_what_is_removed_is_gone(store: Store) -> None:
    store.write("a/x", b"1")
    store.remove("a/x")
    assert not store.exists("a/x")
    assert list(store.names()) == []


def test_a_file_is_read_from_any_position(store: Store) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(20):
            archive.writestr(f"{number}.bin", os.urandom(1000))
    store.write("a.zip", packed.getvalue())

    with store.open("a.zip") as stream, zipfile.ZipFile(stream) as archive:
        assert archive.read("7.bin") == zipfile.ZipFile(packed).read("7.bin")
        stream.seek(-3, os.SEEK_END)
        assert stream.read(10) == packed.getvalue()[-3:]
        assert stream.read(10) == b""


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a/./b", "a/.."])
def test_names_stay_below_their_location(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        store.write(name, b"")


def test_a_folder_is_locked_by_one(tmp_path: Path) -> None:
    store = store_at(str(tmp_path / "job"))
    with store.lock("busy"), pytest.raises(OutputError, match="busy"), store.lock("busy"):
        pass
    assert not (tmp_path / "job").exists()


def test_files_are_private_where_that_holds(tmp_path: Path) -> None:
    store = store_at(str(tmp_path / "job"))
    with private.private():
        store.write("a/x", b"1")
    assert (tmp_path / "job" / "a").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "job" / "a" / "x").stat().st_mode & 0o777 == 0o600


def test_what_goes_while_a_folder_is_listed_hides_nothing_else(tmp_path: Path) -> None:
    """As another process's temporary file does; a link to nothing stands for it."""
    store = store_at(str(tmp_path))
    for n in range(20):
        store.write(f"shards/{n}", b"")
        (tmp_path / "shards" / f"gone-{n}").symlink_to("nowhere")
    assert len(list(store.names("shards/"))) == 20
    assert list(store.names("shards/0/")) == []


def test_a_folder_that_may_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bucket is; the tests may run as a user who may read anything."""
    store = store_at(str(tmp_path))

    def refused(self: LocalStore, name: str) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied", name)

    monkeypatch.setattr(LocalStore, "_there", refused)
    for ask in (
        lambda: store.exists("x"),
        lambda: store.read("x"),
        lambda: store.open("x"),
        lambda: list(store.names("x/")),
    ):
        with pytest.raises(StorageError, match="cannot be read by this user"):
            ask()
