"""A store that fails, is slow, or may not be used."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lits_deploy.errors import StorageError, UserError
from lits_deploy.storage import failures, s3, store_at
from lits_deploy.storage.s3 import S3Store
from s3_server import S3Server

SECRET = "a-secret-of-the-test"


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(s3, "LIBRARY_ATTEMPTS", 3)


@pytest.fixture
def bucket(server: S3Server) -> str:
    return server.bucket(f"t-{os.urandom(6).hex()}")


@pytest.fixture
def store(server: S3Server, bucket: str) -> S3Store:
    store = store_at(f"s3://{bucket}/in", server.endpoint)
    assert isinstance(store, S3Store)
    return store


def test_errors_that_pass_are_asked_again(server: S3Server, store: S3Store) -> None:
    for number in range(20):
        store.write(f"{number}", b"%d" % number)
    server.fault(share=0.3, status=500)
    server.fault(share=0.3, seconds=0.05)
    assert [store.read(f"{number}") for number in range(20)] == [b"%d" % number for number in range(20)]
    assert len(list(store.names())) == 20


def test_an_upload_that_lacks_a_part_is_never_seen(server: S3Server, store: S3Store, bucket: str) -> None:
    server.fault(match=r"PUT .*partNumber=2.*", status=500)
    with pytest.raises(StorageError, match=r"cannot be written: the store failed \(internal failure\)"):
        store.write("x", os.urandom(25_000_000))
    assert server.keys(bucket) == []


def test_an_upload_that_python_leaves_is_never_seen(
    server: S3Server, store: S3Store, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def write(self, data: memoryview) -> None:
            self._stream.write(data)
            raise MemoryError

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

    class Opens:
        def __init__(self, there: Any) -> None:
            self._there = there

        def open_output_stream(self, path: str) -> Broken:
            return Broken(self._there.open_output_stream(path))

    monkeypatch.setattr(store, "_s3", Opens(store._s3))
    with pytest.raises(MemoryError):
        store.write("x", b"half of it")
    gc.collect()
    assert server.keys(bucket) == []


def test_ctrl_c_leaves_a_whole_object_or_none(server: S3Server, store: S3Store, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(large := os.urandom(12_000_000))
    server.fault(match="POST .*uploads.*", seconds=0.5, times=1)
    threading.Timer(0.2, lambda: os.kill(os.getpid(), 2)).start()
    with pytest.raises(KeyboardInterrupt):
        store.put("x", tmp_path / "large")
    deadline = time.monotonic() + 20
    while not server.keys(bucket):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.get(bucket, "in/x") == large


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (403, "AccessDenied", "access denied"),
        (403, "InvalidAccessKeyId", "the credentials are not accepted|access denied"),
        (503, "SlowDown", "the store failed"),
    ],
)
def test_refusals_are_one_line(server: S3Server, store: S3Store, status: int, code: str, text: str) -> None:
    server.fault(match="(GET|HEAD|PUT|POST) .*", status=status, code=code)
    for ask in (
        lambda: store.read("name of a patient"),
        lambda: store.write("name of a patient", b""),
        lambda: list(store.entries("name of a patient")),
    ):
        with pytest.raises(StorageError, match=text) as refused:
            ask()
        assert "patient" not in str(refused.value)
        assert SECRET not in str(refused.value)
        assert refused.value.fix


def test_no_such_bucket(server: S3Server) -> None:
    store = store_at("s3://nobody-made-it/x", server.endpoint)
    assert isinstance(store, S3Store)
    with pytest.raises(StorageError, match="There is no bucket s3://nobody-made-it"):
        store.kind()
    with pytest.raises(StorageError, match="there is no such bucket"):
        store.write("x", b"")


def test_nobody_there_is_said_soon(server: S3Server) -> None:
    begun = time.monotonic()
    with pytest.raises(StorageError, match="cannot be reached"):
        store_at("s3://scans/x", "http://127.0.0.1:9").read("x")
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "ftp://x", "http://key:secret@host", "http://host/a"])
def test_an_endpoint_is_a_url_without_credentials(endpoint: str) -> None:
    with pytest.raises(UserError, match="without credentials") as refused:
        store_at("s3://scans/x", endpoint)
    assert "secret@" not in str(refused.value)


def test_the_endpoint_of_the_environment(server: S3Server, bucket: str) -> None:
    store_at(f"s3://{bucket}/in").write("x", b"1")
    assert server.keys(bucket) == ["in/x"]


def test_a_pyarrow_without_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.fs

    monkeypatch.delattr(pyarrow.fs, "S3FileSystem")
    monkeypatch.setattr(pyarrow.fs, "_not_imported", ["S3FileSystem"])
    with pytest.raises(StorageError, match="cannot read object stores"):
        store_at("s3://never-asked-before/x", "http://127.0.0.1:9")


def test_what_a_location_is(server: S3Server, store: S3Store, bucket: str) -> None:
    assert store.kind() is None
    server.put(bucket, "in/a.png", b"1")
    server.put(bucket, "in/with//gap.png", b"1")
    assert store.kind() == "folder"
    inside = store_at(f"s3://{bucket}/in/a.png", server.endpoint)
    assert isinstance(inside, S3Store)
    assert inside.kind() == "file"
    assert inside.reader().readall() == b"1"
    assert ("", True) in {(entry.name, entry.is_folder) for entry in store.entries("with")}
