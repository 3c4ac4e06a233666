"""Zips: listed without unpacking, bombs and tricks refused, members read with their checksum."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lits_deploy import zip_guard
from lits_deploy.errors import SliceError
from lits_deploy.scans import archive
from lits_deploy.scans.archive import CHANGED, Archive, label, read_member
from named_pipes import not_waiting_for

MOST = 1 << 30


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    yield
    archive.close_last()


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", method, **options) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return path


def listed(path: Path) -> dict[str, str | None]:
    with Archive(str(path)) as opened:
        return {member.label: member.reason for member in opened.members()}


def failure(path: Path, member: int | None = None) -> str:
    name = os.fsencode(path)
    with pytest.raises(SliceError) as caught:
        Archive(name) if member is None else read_member(name, member, MOST)
    return str(caught.value)


def test_members_have_numbers_labels_and_sizes(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"b/": b"", "b/1.png": b"one", "b/IM2": b"second", ".hidden": b"", "b/._1": b""})
    with Archive(str(path)) as opened:
        assert [tuple(member) for member in opened.members()] == [(1, "b/1.png", 3, None), (2, "b/IM2", 6, None)]
        assert opened.head(2, 3) == b"sec"
    assert read_member(os.fsencode(path), 2, MOST) == b"second"
    assert "__MACOSX/._x" not in listed(zipped(tmp_path / "m.zip", {"__MACOSX/x": b"", "x": b""}))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_read_whole_and_its_checksum_proven(tmp_path: Path, method: int) -> None:
    data = os.urandom(3 << 20)
    path = zipped(tmp_path / "a.zip", {"x": data}, method)
    assert read_member(os.fsencode(path), 0, MOST) == data
    raw = bytearray(path.read_bytes())
    raw[2 << 20] ^= 1
    path.write_bytes(raw)
    assert failure(path, 0).startswith("the zip is damaged")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.png", "\\x2e\\x2e/\\x2e\\x2e/etc/passwd.png"),
        ("/etc/x.png", "\\x2f/etc/x.png"),
        ("a//b/./c", "a/\\x2f/b/\\x2e/c"),
        ("a\\..\\b", "a\\\\..\\\\b"),
        ("two\nlines", "two\\x0alines"),
        ("a..b/...", "a..b/..."),
    ],
)
def test_a_name_is_a_label_that_stays_below_its_zip(tmp_path: Path, name: str, shown: str) -> None:
    assert label(name) == shown
    path = zipped(tmp_path / "a.zip", {name: b"x"})
    if not name.endswith("..."):
        assert listed(path) == {shown: None}
        assert read_member(os.fsencode(path), 0, MOST) == b"x"


def test_names_of_other_character_sets_are_kept_apart(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"caf~.png": b"1", "caf^.png": b"2"})
    path.write_bytes(path.read_bytes().replace(b"caf~", b"caf\xe9").replace(b"caf^", b"caf\xe8"))
    assert len(listed(path)) == 2
    path = zipped(tmp_path / "u.zip", {"café.png": b"1"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9~"))
    assert "marked as UTF-8 and is not" in failure(path)


def test_two_files_of_one_name_are_one_failure(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        out.writestr("x.png", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("x.png", "two")
    assert listed(tmp_path / "a.zip") == {"x.png": "2 files of this name in the zip"}


def test_encrypted_and_unknown_methods_are_failures(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": b"1" * 100})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert listed(path) == {"x": zip_guard.ENCRYPTED}
    assert failure(path, 0) == zip_guard.ENCRYPTED
    bz = zipped(tmp_path / "b.zip", {"x": b"1" * 100}, zipfile.ZIP_BZIP2)
    assert "its compression, method 12, is not read" in (listed(bz)["x"] or "")


def test_bombs_are_refused_before_they_inflate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", {"x": bytes(20 << 20)})
    assert "a zip bomb?" in (listed(path)["x"] or "")
    assert "a zip bomb?" in failure(path, 0)
    zipped(path, {"x": os.urandom(1000)})
    with pytest.raises(SliceError, match="larger than any slice"):
        read_member(os.fsencode(path), 0, 999)
    monkeypatch.setattr(archive, "MOST_MEMBER", 999)
    assert "larger than any scan" in (listed(path)["x"] or "")
    monkeypatch.setattr(zip_guard, "MOST_ENTRIES", 2)
    assert listed(zipped(path, {"x": b"", "y": b""}))
    assert "more than 2 files in one zip" in failure(zipped(path, {"x": b"", "y": b"", "z": b""}))
    monkeypatch.setattr(zip_guard, "MOST_DIRECTORY", 100)
    assert "a directory of" in failure(path)


def test_a_claim_of_less_than_there_is_fails_by_its_checksum(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": bytes(50_000)})
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = struct.pack("<I", 100)
    path.write_bytes(raw)
    assert failure(path, 0).startswith("the zip is damaged")


def test_entries_that_share_bytes_are_a_bomb(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"x": os.urandom(500), "y": os.urandom(500)}, zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    second = raw.rindex(b"PK\x01\x02") + 42
    raw[second : second + 4] = struct.pack("<I", 10)
    path.write_bytes(raw)
    assert failure(path) == "its entries overlap: a zip bomb?"


@pytest.mark.parametrize("cut", [10, 21, 200])
def test_a_broken_zip_is_one_failure(tmp_path: Path, cut: int) -> None:
    path = zipped(tmp_path / "a.zip", {"x": os.urandom(300), "y": b"2"})
    path.write_bytes(path.read_bytes()[:-cut])
    assert "truncated or damaged" in failure(path)
    path.write_bytes(b"PK\x03\x04" + bytes(30))
    assert "truncated or damaged" in failure(path)
    path.write_bytes(b"")
    assert "truncated or damaged" in failure(path)


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "a.zip"
    os.mkfifo(pipe)
    assert not_waiting_for(pipe, lambda: failure(pipe)) == "not a regular file"


def test_a_large_zip_and_one_behind_a_program_are_read(tmp_path: Path) -> None:
    plain = zipped(tmp_path / "a.zip", {"x": b"data"})
    behind = tmp_path / "b.zip"
    behind.write_bytes(b"#!/bin/sh\n" * 20 + plain.read_bytes())
    assert read_member(os.fsencode(behind), 0, MOST) == b"data"
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as out, out.open("x", "w", force_zip64=True) as member:
        member.write(b"zip64")
    assert read_member(os.fsencode(tmp_path / "c.zip"), 0, MOST) == b"zip64"


def test_the_open_zip_is_used_again_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", {"x": b"1", "y": b"2"})
    opened: list[object] = []
    opener = zip_guard.opened

    def counted(stream: io.BufferedReader, size: int) -> zipfile.ZipFile:
        opened.append(size)
        return opener(stream, size)

    monkeypatch.setattr(zip_guard, "opened", counted)
    name, first = os.fsencode(path), path.stat().st_mtime_ns
    assert [read_member(name, number, MOST, mtime_ns=first) for number in (0, 1)] == [b"1", b"2"]
    assert len(opened) == 1
    zipped(path, {"z": b"3"})
    os.utime(path, ns=(first + 10**9, first + 10**9))
    assert read_member(name, 0, MOST) == b"3"
    assert len(opened) == 2
    with pytest.raises(SliceError, match=CHANGED):
        read_member(name, 0, MOST, mtime_ns=first)
    with pytest.raises(SliceError, match=CHANGED):
        read_member(name, 1, MOST)


def test_mutated_zips_give_reasons_and_nothing_else(tmp_path: Path) -> None:
    import random

    source = zipped(tmp_path / "a.zip", {f"d/{n}": os.urandom(200) + bytes(300) for n in range(5)}).read_bytes()
    dice = random.Random(3)
    for _ in range(300):
        raw = bytearray(source)
        for _ in range(dice.randint(1, 8)):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        (tmp_path / "m.zip").write_bytes(raw[: dice.randrange(len(raw))] if dice.random() < 0.1 else raw)
        try:
            with Archive(str(tmp_path / "m.zip")) as opened:
                for member in opened.members():
                    opened.head(member.number, 100)
                    opened.read(member.number, MOST)
        except (SliceError, OSError):
            continue
