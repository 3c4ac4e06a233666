"""Who has the results of a pseudonymous run, and even its salt, cannot find a patient's id by trying all of them."""

from __future__ import annotations

import hashlib
import hmac
import re
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from every_output import write_everything
from folder_runs import SIZE, classify
from lits_deploy.pseudonyms import SALT_FILE, Pseudonyms
from masked import make_unet
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle
from worlds import Series

PATIENT = "7041236"
IDS = [f"{number:07d}" for number in range(7_041_000, 7_041_500)]
"""Of the ten million that an attacker tries, those around the right one: which of them are tried changes no answer."""

KINDS = ("path", "entry", "study", "series", "base", "state", "part", "file", "mark", "name", "scope", "folder", "")
_HEX = re.compile(rb"[0-9a-f]{12,}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results in out-*, of scans in folders that are named for a patient."""
    home = tmp_path_factory.mktemp("home")
    folder_of_slices(home / "pictures" / PATIENT, 3, size=SIZE)
    Series(name=PATIENT, count=3, step=2.0).write(home / "series")
    bundle = make_tiny_bundle(home / "bundle", size=SIZE, crop=56)
    write_everything(home, bundle, make_unet(home / "unet"), pseudonymous=True)
    classify(bundle, home / "pictures" / PATIENT, home / "out-direct", salt=None, workers=1, pseudonymous=True)
    return home


def known_to(attacker: Iterable[Path]) -> tuple[set[str], list[bytes]]:
    """What stands in the files: hex of twelve digits or more, cut to twelve; and their bytes, for digests in bytes."""
    found, blobs = set[str](), list[bytes]()
    for path in attacker:
        data = [path.read_bytes(), path.name.encode()]
        if path.name.endswith(".sqlite"):
            with sqlite3.connect(path) as db:
                tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                data += [str(db.execute(f"SELECT * FROM {table}").fetchall()).encode() for table in tables]
            db.close()
        blobs += data
        found |= {
            text[start : start + 12].decode()
            for block in data
            for text in _HEX.findall(block)
            for start in (0, len(text) - 12)
        }
    return found, blobs


def written(home: Path, *, salt: bool = False) -> list[Path]:
    files = [path for out in home.glob("out-*") for path in out.rglob("*") if path.is_file()]
    return [path for path in files if salt or path.name != SALT_FILE]


def texts(identifier: str, home: Path) -> Iterator[str]:
    """What a folder or a patient may be called by."""
    yield from (identifier, f"{identifier}/", f"/{identifier}", f"{home}/pictures/{identifier}", f'"{identifier}"')
    yield f'no study UID, patient "{identifier}"'


def unsalted(text: str) -> Iterator[bytes]:
    for message in (text.encode(), *(f"{kind}\0{text}".encode() for kind in KINDS), f'["{text}"]'.encode()):
        for name in ("md5", "sha1", "sha256", "sha512"):
            yield hashlib.new(name, message).digest()
        yield hashlib.blake2b(message, digest_size=16).digest()
        yield hashlib.blake2b(message).digest()


def salted(text: str, salt: bytes) -> Iterator[bytes]:
    for message in (text.encode(), *(f"{kind}\0{text}".encode() for kind in KINDS)):
        yield hmac.digest(salt, message, "sha256")
        yield hashlib.sha256(salt + message).digest()


def salts(home: Path) -> set[bytes]:
    return {bytes.fromhex(path.read_text().strip()) for path in written(home, salt=True) if path.name == SALT_FILE}


def test_nobody_without_the_salt_finds_the_id(home: Path) -> None:
    found, blobs = known_to(written(home))
    assert len(found) > 50
    everything = b"".join(blobs)
    for identifier in IDS:
        for text in texts(identifier, home):
            for digest in unsalted(text):
                assert digest.hex()[:12] not in found, (identifier, text)
    for text in texts(PATIENT, home):
        assert not [digest for digest in unsalted(text) if digest in everything], text
    assert PATIENT.encode() not in everything


def test_a_folders_name_is_not_hashed_alone_even_for_who_has_the_salt(home: Path) -> None:
    found, _ = known_to(written(home, salt=True))
    assert len(salts(home)) == 5
    for salt in salts(home):
        for identifier in IDS:
            for text in (identifier, f"{identifier}/", f"/{identifier}", f"{home}/pictures/{identifier}"):
                hits = [digest.hex() for digest in salted(text, salt) if digest.hex()[:12] in found]
                assert not hits, text


def test_the_attacker_would_find_what_is_hashed(home: Path) -> None:
    """Else the tests above could not fail: whole paths are hashed with the salt, and are found with it."""
    found, _ = known_to(written(home))
    scan = next(path for path in (home / "pictures").rglob("*") if path.is_file())
    path = scan.relative_to(home / "pictures").as_posix()
    hits = [salt for salt in salts(home) if Pseudonyms(salt=salt).of("path", path) in found]
    assert len(hits) == 3  # classify twice, watch; segment had other scans
    planted = {hashlib.sha256(PATIENT.encode()).hexdigest()[:12]}
    assert any(digest.hex()[:12] in planted for text in texts(PATIENT, home) for digest in unsalted(text))


def test_no_file_is_known_by_its_hash(home: Path) -> None:
    _, blobs = known_to(written(home))
    everything = b"".join(blobs)
    scans = [path for name in ("pictures", "series") for path in (home / name).rglob("*") if path.is_file()]
    assert len(scans) == 6
    for path in scans:
        for name in ("md5", "sha1", "sha256", "blake2b"):
            digest = hashlib.new(name, path.read_bytes()).digest()
            assert digest not in everything
            assert digest.hex()[:12].encode() not in everything
    assert b"sha256" in everything
