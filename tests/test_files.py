"""Files that are whole or absent, after a power cut too: on the disk first, then under their name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lits_deploy.files import atomic_path, write_bytes, write_json, write_printable


def test_all_bytes_are_on_the_disk_before_the_file_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "table.csv"
    target.write_bytes(b"old")
    synced: list[tuple[int, int, bytes]] = []
    sync = os.fsync

    def watched(fd: int) -> None:
        status = os.fstat(fd)
        synced.append((status.st_ino, status.st_size, target.read_bytes()))
        sync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    write_bytes(target, b"the new table")
    inode, size, under_the_name = synced[0]
    assert (inode, size) == (target.stat().st_ino, len(b"the new table"))
    assert under_the_name == b"old"
    assert target.read_bytes() == b"the new table"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"old")

    def write() -> None:
        with atomic_path(tmp_path / "table.csv") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"table.csv": b"old"}


def test_json_and_text_for_people_are_printable_and_json_is_exact(tmp_path: Path) -> None:
    hostile = {"a\x1b[2J": "\u202e\udcff\n"}
    write_json(tmp_path / "a.json", hostile)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == hostile
    write_printable(tmp_path / "card.md", "# a\x1b[2J\n\nb\u202e\n")
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == "# a\\x1b[2J\n\nb\\xe2\\x80\\xae\n"
