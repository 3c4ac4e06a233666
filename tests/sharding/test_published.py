"""Shards that were answered in unequal ways do not become one table, unless that is asked for and marked."""

from __future__ import annotations

import csv
import errno
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_runtime import FakeRuntime
from folder_runs import SIZE
from lits_deploy.bundle import Bundle
from lits_deploy.errors import OutputError, StorageError, UserError
from lits_deploy.ledger import digest
from lits_deploy.runtime.base import RuntimeInfo
from lits_deploy.sharding import shard_record
from lits_deploy.sharding.published import agree
from lits_deploy.storage.local import LocalStore
from pictures import folder_of_slices
from sharded import do_shards, merged, plan
from tiny_bundle import make_tiny_bundle


class Elsewhere(FakeRuntime):
    """A network on another machine."""

    def __init__(self, **info: Any) -> None:
        super().__init__(shape=(1, SIZE, SIZE))
        self._info = info

    def describe(self) -> RuntimeInfo:
        return replace(super().describe(), **self._info)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def job(bundle: Bundle, tmp_path: Path) -> Path:
    """A plan of four shards; 0 and 1 are done."""
    scans = folder_of_slices(tmp_path / "scans", 8, size=SIZE)
    folder_of_slices(scans / "more", 8, size=SIZE)
    assert plan(bundle, scans, tmp_path / "job", 4).shards == 4
    do_shards(bundle, tmp_path / "job", (0, 1), runtime=Elsewhere(), pictures=False)
    return tmp_path / "job"


def on(processor: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(shard_record, "processor_class", lambda: processor)


@pytest.mark.parametrize(
    ("info", "here", "what", "columns"),
    [
        ({}, on("x86_64 avx2"), "class of processor", {}),
        ({"name": "other"}, lambda _: None, "runtime", {"runtime": "mixed"}),
        ({"precision": "int8", "name": "other"}, lambda _: None, "precision, runtime", {"precision": "mixed"}),
        ({"device": "cuda:1", "engine": "e" * 64}, lambda _: None, "kind of device", {}),
    ],
)
def test_shards_answered_elsewhere_are_refused_or_marked(
    bundle: Bundle,
    job: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    info: dict[str, Any],
    here: Callable[[pytest.MonkeyPatch], None],
    what: str,
    columns: dict[str, str],
) -> None:
    with monkeypatch.context() as patch:
        here(patch)
        do_shards(bundle, job, [3], runtime=Elsewhere(**info), pictures=False)
    out = tmp_path / "out"
    with pytest.raises(
        OutputError, match=r"1 of the 3 shards .* than the others \(3\)\. Fix: .*--allow-mixed"
    ) as caught:
        merged(job, out)
    assert f"answered on another {what}" in str(caught.value)
    assert not out.exists()
    summary = merged(job, out, allow_mixed=True)
    assert (list(summary.odd), summary.missing) == ([3], (2,))
    assert any(line.startswith("Answers are mixed: 1 shards differ") for line in summary.run.warnings)
    document = json.loads((out / "run.json").read_text())
    assert document["merged"]["mixed"] == {"3": list(summary.odd[3])}
    assert document["identity"]["mixed"] == sorted(summary.odd[3])
    with (out / "slices.csv").open(encoding="utf-8", newline="") as stream:
        row = next(csv.DictReader(stream))
    assert {name: row[name] for name in columns} == columns
    do_shards(bundle, job, [2], runtime=Elsewhere(), pictures=False)
    with pytest.raises(OutputError, match="were answered on another"):
        merged(job, out)
    assert merged(job, out, allow_mixed=True).missing == ()


def test_library_versions_are_noted_and_not_refused(bundle: Bundle, job: Path, tmp_path: Path) -> None:
    do_shards(bundle, job, runtime=Elsewhere(version="7"), pictures=False)
    assert merged(job, tmp_path / "out").odd == {}
    document = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [(row["versions"]["fake"], row["files"]) for row in document["answered_with"]] == [("0", 8), ("7", 8)]
    assert [(one["version"], one["shards"]) for one in document["merged"]["answered_on"]] == [("0", 2), ("7", 2)]


def test_an_output_folder_of_another_run_is_refused(bundle: Bundle, job: Path, tmp_path: Path) -> None:
    merged(job, tmp_path / "out")
    other = tmp_path / "other"
    plan(bundle, tmp_path / "scans", other, 4, abstain=False)
    do_shards(bundle, other, runtime=Elsewhere(name="other"), pictures=False)
    with pytest.raises(OutputError, match=r"holds another run \(runtime fake there, other now\)"):
        merged(other, tmp_path / "out")
    assert merged(other, tmp_path / "out", overwrite=True).run.slices == 16


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE slice SET p2 = 0.5 WHERE file = 2", r"damaged \(the rows of file 2 are not those that were written\)"),
        ("UPDATE meta SET value = 'x' WHERE key = 'ran'", r"damaged \(its note `ran` is not as it was written\)"),
        ("DELETE FROM meta WHERE key = 'shard'", r"without its notes"),
        ("DELETE FROM slice WHERE file = 1", r"damaged \(the rows of file 1 are not"),
        (None, r"damaged \((file is not a database|database disk image is malformed)"),
    ],
)
def test_a_damaged_shard_is_one_line_that_names_it(
    bundle: Bundle, job: Path, tmp_path: Path, statement: str | None, says: str
) -> None:
    path = next((job / "shards").glob("00001-*.sqlite"))
    whole = path.read_bytes()
    if statement is None:
        path.write_bytes(b"x" * 5000)
    else:
        with closing(sqlite3.connect(path)) as db:
            db.execute(statement)
            db.commit()
    with pytest.raises(OutputError, match=rf"Shard 1 in .* is {says}.*\. Fix: remove shards/00001-"):
        merged(job, tmp_path / "out")
    path.write_bytes(whole)
    assert merged(job, tmp_path / "out").run.slices == 8  # what there is of OUT goes on


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("identity", "null", "without its notes"),
        ("ran", "{}", "without its notes"),
        ("shard", "null", "without its notes"),
        ("shard", '{"schema":2}', "of another version of lits-deploy"),
    ],
)
def test_notes_of_another_version_are_one_line(
    bundle: Bundle, job: Path, tmp_path: Path, key: str, text: str, says: str
) -> None:
    path = next((job / "shards").glob("00001-*.sqlite"))
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = ?, digest = ? WHERE key = ?", (text, digest.of(key, text), key))
        db.commit()
    with pytest.raises(OutputError, match=rf"Shard 1 in .* is {says}\. Fix: remove shards/00001-"):
        merged(job, tmp_path / "out")
    path.write_bytes(whole)


def test_a_ledger_that_may_not_be_read_is_not_called_damaged(
    bundle: Bundle, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who removed it would have its work done again."""
    there = LocalStore._there

    def refused(self: LocalStore, name: str) -> Path:
        if name.endswith(".sqlite"):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return there(self, name)

    monkeypatch.setattr(LocalStore, "_there", refused)
    with pytest.raises(StorageError, match=r"cannot be read by this user \(permission denied\)"):
        merged(job, tmp_path / "out")


def test_a_ledger_of_another_shard_or_bundle_is_not_taken(bundle: Bundle, job: Path, tmp_path: Path) -> None:
    first, second = sorted((job / "shards").glob("*.sqlite"))
    shutil.copyfile(first, second)
    with pytest.raises(OutputError, match=r"Shard 1 in .* was answered for another plan\. Fix: remove"):
        merged(job, tmp_path / "out")
    with closing(sqlite3.connect(second)) as db:
        (text,) = db.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
        text = text.replace(bundle.sha256, "b" * 64)
        db.execute("UPDATE meta SET value = ?, digest = ? WHERE key = 'identity'", (text, digest.of("identity", text)))
        db.commit()
    with pytest.raises(UserError, match=r"Shard 1 in .* was answered for another bundle\. Fix: remove"):
        merged(job, tmp_path / "out", allow_mixed=True)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="max"):
        agree([], "nowhere")
