"""Files of the same size and time: done again where their bytes are others, kept where only their ctime has moved."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from folder_runs import SIZE, classify, outcome, rows, tricks
from lits_deploy.bundle import Bundle
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    scans = folder_of_slices(tmp_path / "scans", 6, size=SIZE)
    tricks(scans, grey="grey 30", bad="no such thing")
    with zipfile.ZipFile(scans / "more.zip", "w") as archive:
        for number in (40, 50):
            archive.writestr(f"{number}.test", f"grey {number}")
    return scans


def rewrite(path: Path, data: bytes) -> None:
    """Other bytes of the same length, and the old time."""
    before = path.stat()
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_other_bytes_of_the_same_size_and_time_are_noticed(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    classify(bundle, scans, out)
    rewrite(scans / "grey.test", b"grey 31")
    rewrite(scans / "bad.test", b"grey 32".ljust(13))
    with zipfile.ZipFile(scans / "new.zip", "w") as archive:
        for number, content in ((40, 40), (50, 51)):
            archive.writestr(zipfile.ZipInfo(f"{number}.test"), f"grey {content}")
    rewrite(scans / "more.zip", (scans / "new.zip").read_bytes())
    (scans / "new.zip").unlink()
    summary = classify(bundle, scans, out)
    assert summary.now == 3  # of the zip's two members the one that is another
    assert outcome(out)["bad.test"] == "ok"
    classify(bundle, scans, tmp_path / "fresh")
    assert (out / "slices.csv").read_bytes() == (tmp_path / "fresh/slices.csv").read_bytes()


@pytest.mark.parametrize("pseudonymous", [False, True])
def test_answers_stay_where_only_the_ctime_has_moved(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pseudonymous: bool
) -> None:
    out = tmp_path / "out"
    classify(bundle, scans, out, pseudonymous=pseudonymous)
    before = rows(out)
    for path in scans.rglob("*.*"):
        path.chmod(0o640)
        os.link(path, tmp_path / f"backup-{path.name}")
    assert classify(bundle, scans, out, pseudonymous=pseudonymous).now == 0
    assert rows(out) == before
    monkeypatch.setattr("lits_deploy.pipeline.altered._sha256", lambda *_: pytest.fail("read again every night"))
    assert classify(bundle, scans, out, pseudonymous=pseudonymous).now == 0


def test_a_copy_that_kept_sizes_and_times_is_compared_not_believed(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    classify(bundle, scans, out)
    scans.rename(tmp_path / "old")
    shutil.copytree(tmp_path / "old", scans)  # other inodes, other ctimes
    assert classify(bundle, scans, out).now == 0
