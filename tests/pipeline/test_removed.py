"""Scans that vanish between two runs: counted where they were taken away, and a stop where they only seem gone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from folder_runs import SIZE, classify, outcome, tricks
from lits_deploy.bundle import Bundle
from lits_deploy.errors import OutputError
from lits_deploy.scans import discover
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for folder in ("a", "b", "b/deep"):
        tricks(tmp_path / "scans" / folder, one="grey 3", two="grey 4")
    return tricks(tmp_path / "scans", top="grey 5")


def state(out: Path) -> dict[str, bytes]:
    """Everything in OUT but the ledger's own log."""
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(("ledger", "."))}


def test_what_was_taken_away_is_counted_and_reported(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    first = classify(bundle, scans, tmp_path / "out")
    assert (first.added, first.removed) == (7, 0)
    shutil.rmtree(scans / "a")  # a folder that is gone was taken away; one that is empty is suspect
    (scans / "b/one.test").unlink()
    tricks(scans / "c", new="grey 9")
    summary = classify(bundle, scans, tmp_path / "out")
    assert (summary.added, summary.removed, summary.files) == (1, 3, 5)
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert (record["added"], record["removed"]) == (1, 3)


def empty_b(scans: Path, _: Any) -> None:
    shutil.rmtree(scans / "b")
    (scans / "b").mkdir()


def take_all(scans: Path, _: Any) -> None:
    for path in scans.iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)


def another_disk(scans: Path, _: Any) -> None:
    take_all(scans, _)
    tricks(scans / "other", new="grey 9")


def forbid(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("deep"):
            raise OSError(116, "Stale file handle")
        return scandir(path)

    monkeypatch.setattr(discover.os, "scandir", refuse)


@pytest.mark.parametrize("pseudonymous", [False, True])
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (empty_b, "one of their top-level folders no longer holds a scan"),
        (take_all, "none of them was found"),
        (another_disk, "none of them was found"),
        (forbid, r"one of their folders cannot be listed \(stale file handle\)"),
    ],
)
def test_what_seems_gone_stops_the_run_before_it_changes_anything(
    bundle: Bundle,
    scans: Path,
    tmp_path: Path,
    spoil: Callable[[Path, pytest.MonkeyPatch], None],
    why: str,
    pseudonymous: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    classify(bundle, scans, out, pseudonymous=pseudonymous)
    before = state(out)
    spoil(scans, monkeypatch)
    with pytest.raises(OutputError, match=rf"scans with results seem to be gone: {why}.*--allow-removed"):
        classify(bundle, scans, out, pseudonymous=pseudonymous)
    assert state(out) == before
    summary = classify(bundle, scans, out, pseudonymous=pseudonymous, allow_removed=True)
    assert summary.removed > 0
    if spoil is not take_all:  # the state that was let pass is known
        assert classify(bundle, scans, out, pseudonymous=pseudonymous).removed == 0


@pytest.mark.parametrize("pseudonymous", [False, True])
def test_a_mount_that_is_missing_stops_the_run(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pseudonymous: bool
) -> None:
    mounted = {os.path.realpath(scans / "b/deep")}
    monkeypatch.setattr(discover.os.path, "ismount", lambda path: path in mounted)
    out = tmp_path / "out"
    classify(bundle, scans, out, pseudonymous=pseudonymous)
    mounted.clear()
    assert classify(bundle, scans, out, pseudonymous=pseudonymous).removed == 0  # copied to this disk: all is there
    mounted.add(os.path.realpath(scans / "b/deep"))
    classify(bundle, scans, out, pseudonymous=pseudonymous)
    mounted.clear()
    for path in (scans / "b/deep").iterdir():
        path.unlink()
    with pytest.raises(OutputError, match="was a mount point and is none now"):
        classify(bundle, scans, out, pseudonymous=pseudonymous)


def test_a_root_of_several_that_is_empty_stops_the_run(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    roots = [scans / "a", scans / "b" / "deep", scans / "b"]
    classify(bundle, roots, tmp_path / "out")
    for path in (scans / "b/deep").iterdir():
        path.unlink()
    with pytest.raises(OutputError, match="top-level folders no longer holds a scan"):
        classify(bundle, roots, tmp_path / "out")


def test_a_folder_that_never_could_be_listed_stops_nothing(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        forbid(scans, patched)
        (tmp_path / "scans/void").mkdir()
        for pseudonymous in (False, True):
            out = tmp_path / f"out-{pseudonymous}"
            assert classify(bundle, scans, out, pseudonymous=pseudonymous).failed == 1
            (scans / "top.test").unlink()
            assert classify(bundle, scans, out, pseudonymous=pseudonymous).removed == 1
            tricks(scans, top="grey 5")
    assert classify(bundle, scans, tmp_path / "out-False").failed == 0  # and its row leaves without a word


def test_in_an_inbox_what_seems_gone_keeps_its_results(
    bundle: Bundle, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    classify(bundle, scans, out)
    before = outcome(out)
    shutil.rmtree(scans / "a")
    (scans / "a").mkdir()
    forbid(scans, monkeypatch)
    summary = classify(bundle, scans, out, only={"a", "b"})
    assert summary.removed == 0
    assert outcome(out) == {**before, "b/deep/": "the folder cannot be listed (stale file handle)"}
