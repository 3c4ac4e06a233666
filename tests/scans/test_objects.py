"""Listing a bucket finds what a walk finds in a folder with the same files."""

from __future__ import annotations

import io
import os
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from lits_deploy.errors import StorageError, UserError
from lits_deploy.scans.discover import Discovery
from lits_deploy.scans.objects import ObjectDiscovery
from lits_deploy.scans.records import UNREADABLE, ScanRecord
from lits_deploy.storage import failures
from pictures import encoded, grey_pixels
from s3_server import S3Server
from scan_files import ct, nifti, stack

PNG = encoded(grey_pixels(), "PNG")


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(failures, "FIRST_PAUSE_S", 0.01)
    return server.bucket(f"t-{os.urandom(6).hex()}")


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def damaged(data: bytes, count: int) -> dict[str, bytes]:
    """Copies of a zip with a few bytes changed, most of them in its directory."""
    rng, made = random.Random(5), {}
    for number in range(count):
        copy = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            copy[rng.randrange(len(data) // 2 if rng.random() < 0.7 else 0, len(data))] = rng.randrange(256)
        made[f"{number}.zip"] = bytes(copy)
    return made


def world(folder: Path) -> Path:
    """Files of every kind that a listing decides on."""
    many = {f"series/IM{number:04d}": ct() for number in range(40)}
    files = {
        "a.png": PNG,
        "ä ö (1)%20+&.jpg": PNG,
        "back\\slash\x01.png": PNG,
        "deep/er/still/1.dcm": ct(),
        "deep/IM0001": ct(),
        "deep/DICOMDIR": b"\0" * 128 + b"DICM" + b"1.2.840.10008.1.3.10",
        "deep/volume.nii.gz": nifti(stack()),
        "notes.txt": b"x",
        "no suffix": b"nothing",
        "v1.2_final.Doe^Jane": b"nothing",
        "empty": b"",
        "picture.gif": b"GIF89a",
        "unknown": b"GIF89a",
        ".hidden.png": PNG,
        ".git/x.png": PNG,
        "old/ledger.sqlite": b"x",
        "old/scan.png": PNG,
        "old/masks/.lits-deploy": b"",
        "old/masks/png/a.png": PNG,
        "a.zip": packed({"in/1.png": PNG, "in/notes.txt": b"x", "__MACOSX/1.png": b"x", "inner.zip": packed({})}),
        "many.zip": packed(many),
        "stored.zip": packed(many, zipfile.ZIP_STORED),
        "nothing.zip": packed({"notes.txt": b"x"}),
        "zipped": packed({"1": ct(), "2": b"nothing", "DICOMDIR": b""}),
        "broken.zip": packed(many)[:-30],
        "behind a program.zip": b"#!/bin/sh\n" + packed(many),
    }
    hostile = damaged(packed({f"d/{n}": os.urandom(200) + ct()[:300] for n in range(5)}), 60)
    for name, content in {**files, **{f"hostile/{name}": data for name, data in hostile.items()}}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def seen(listing: Discovery | ObjectDiscovery) -> tuple[object, ...]:
    """All that a listing tells, less what an object has not."""
    found = sorted((replace(one, mtime_ns=0, ctime_ns=0, etag=None) for one in listing), key=repr)
    return found, listing.others, listing.own, sorted(listing.tops), dict(listing.unlisted), listing.names


def test_records_and_counts_are_those_of_a_walk(server: S3Server, bucket: str, tmp_path: Path) -> None:
    folder = world(tmp_path / "scans")
    server.put_folder(bucket, "scans", folder)
    there = f"s3://{bucket}/scans"
    for below, how in (
        (("",), {}),
        (("",), {"recursive": False}),
        (("/deep", "/old", "/a.png", "/many.zip"), {}),
        (("/a.png",), {}),
        (("/notes.txt", "/deep/DICOMDIR", "/nothing.zip", "/picture.gif", "/broken.zip", "/no suffix"), {}),
        (("", "/deep"), {}),
        (("/old/masks",), {}),
    ):
        local = Discovery([folder / one.lstrip("/") for one in below], **how)
        remote = ObjectDiscovery([f"{there}{one}" for one in below], **how)
        assert seen(remote) == seen(local), below


def test_an_answer_that_is_slow_or_fails_changes_nothing(server: S3Server, bucket: str, tmp_path: Path) -> None:
    folder = world(tmp_path / "scans")
    server.put_folder(bucket, "scans", folder)
    server.fault(share=0.1, status=500)
    server.fault(share=0.1, seconds=0.05)
    assert seen(ObjectDiscovery([f"s3://{bucket}/scans"])) == seen(Discovery([folder]))


def test_an_etag_stands_where_a_file_has_its_time(server: S3Server, bucket: str) -> None:
    def one() -> ScanRecord:
        (found,) = ObjectDiscovery([f"s3://{bucket}/x"])
        return found

    server.put(bucket, "x/a.png", PNG)
    before = one()
    server.put(bucket, "x/a.png", PNG)
    assert one() == before
    server.put(bucket, "x/a.png", PNG[:-1] + b"!")
    assert (one().size, one().mtime_ns == before.mtime_ns, one().etag == before.etag) == (before.size, False, False)
    assert 0 <= before.mtime_ns < 1 << 63
    assert before.etag
    assert before.ctime_ns == 0


def test_a_path_leads_back_to_its_object(server: S3Server, bucket: str) -> None:
    server.put(bucket, "ä\\b/c%20.png", PNG)
    discovery = ObjectDiscovery([f"s3://{bucket}"])
    (found,) = discovery
    assert found.path == "ä\\\\b/c%20.png"
    assert discovery.real_path(found.path) == f"s3://{bucket}/ä\\b/c%20.png"
    assert discovery.base == f"s3://{bucket}"


def test_keys_that_are_no_paths_are_a_row(server: S3Server, bucket: str) -> None:
    for key in ("x//a.png", "x/b.png", "x/deep//c.png"):
        server.put(bucket, key, PNG)
    discovery = ObjectDiscovery([f"s3://{bucket}/x"])
    found = {one.path: one.reason for one in discovery}
    assert found.keys() == {"b.png", "\\x2f/", "deep/\\x2f/"}
    assert found["\\x2f/"] == "a key with an empty part (`//`) is no path"
    assert discovery.unlisted.keys() == {"\\x2f", "deep/\\x2f"}


def test_the_output_is_no_scan(server: S3Server, bucket: str) -> None:
    for key in ("x/a.png", "x/out/b.png"):
        server.put(bucket, key, PNG)
    assert [one.path for one in ObjectDiscovery([f"s3://{bucket}/x"], skip=[f"s3://{bucket}/x/out/"])] == ["a.png"]
    whole = ObjectDiscovery([f"s3://{bucket}/x/out"], skip=[f"s3://{bucket}/x/out"])
    assert [one.path for one in whole] == ["b.png"]


def test_what_the_store_refuses_is_that_object_s_row(server: S3Server, bucket: str) -> None:
    for key in ("x/a.png", "x/b.png", "x/c.zip", "x/d", "x/folder/e.png"):
        server.put(bucket, key, PNG)
    server.fault(match="HEAD .*/x/b.png", status=403, code="AccessDenied")
    server.fault(match="HEAD .*/x/c.zip", status=500)
    server.fault(match="GET .*/x/d", status=500)
    server.fault(match="GET .*prefix=x%2Ffolder.*", status=403, code="AccessDenied")
    discovery = ObjectDiscovery([f"s3://{bucket}/x"])
    assert {one.path: (one.reason, one.unlisted, one.size == UNREADABLE) for one in discovery} == {
        "a.png": (None, False, False),
        "b.png": ("the file cannot be read (access denied)", False, True),
        "c.zip": ("the file cannot be read (the store failed (http status 500))", False, True),
        "d": ("the file cannot be read (the store failed (internal failure))", False, True),
        "folder/": ("the folder cannot be listed (access denied)", True, True),
    }
    assert discovery.unlisted == {"folder": "access denied"}


def test_roots_that_cannot_be_listed_are_one_line(server: S3Server, bucket: str) -> None:
    with pytest.raises(UserError, match=rf"There is no s3://{bucket}/nothing. Fix: check the location"):
        ObjectDiscovery([f"s3://{bucket}/nothing"])
    with pytest.raises(UserError, match="There is no such file or folder: number 2 of the 2 named"):
        ObjectDiscovery([f"s3://{bucket}", f"s3://{bucket}/Doe^Jane"], hidden=True)
    with pytest.raises(UserError, match="lie in one bucket"):
        ObjectDiscovery([f"s3://{bucket}", "s3://another"])
    with pytest.raises(StorageError, match="There is no bucket"):
        ObjectDiscovery(["s3://nobody-made-it/x"])


def test_objects_are_asked_for_at_once_and_in_bounded_number(server: S3Server, bucket: str) -> None:
    for number in range(300):
        server.put(bucket, f"x/{number}.png", PNG)
    records = iter(ObjectDiscovery([f"s3://{bucket}/x"]))
    next(records)
    asked = sum(count for request, count in server.requests().items() if request.startswith("HEAD"))
    assert asked <= 140  # those ahead, and the root
    assert len(list(records)) == 299


def test_a_listing_is_of_the_same_records_in_any_order(server: S3Server, bucket: str) -> None:
    keys = [f"x/{random.randrange(10**6)}/{number}.png" for number in range(30)]
    for key in keys:
        server.put(bucket, key, PNG)
    assert sorted(one.path for one in ObjectDiscovery([f"s3://{bucket}/x"])) == sorted(key[2:] for key in keys)
