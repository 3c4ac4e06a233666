"""What an actor does on its node: one worker process, and a bundle that comes once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fake_worker import COMMAND
from lits_deploy.errors import BundleError
from lits_deploy.files import sha256_bytes
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.sharding import ray_node
from lits_deploy.sharding.messages import Start
from lits_deploy.sharding.ray_node import NodeWorker, kept_bundle

pytest.importorskip("ray")


@pytest.fixture
def actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeWorker]:
    """Around a worker that decodes nothing."""
    monkeypatch.setattr(ray_node, "command", lambda: COMMAND)
    monkeypatch.setattr(os, "umask", lambda mode: 0)
    monkeypatch.setattr("resource.setrlimit", lambda *_: None)
    actor = NodeWorker()
    yield actor
    actor.end()


def start(job: Path) -> dict[str, Any]:
    return Start(bundle="", job=str(job), options=ClassifyOptions()).to_json()


def test_it_does_shards(actor: NodeWorker, tmp_path: Path) -> None:
    assert actor.prepare(start(tmp_path), []) == [{"joined": {"name": "fake", "device": "auto"}}]
    (tmp_path / "ledger-7").write_bytes(b"a ledger")
    said, ledger = actor.do(7, {"number": 7}, b"rows")
    assert said == [{"note": "a note"}, {"published": 10, "failed": 1, "warnings": ["a warning"]}]
    assert ledger == b"a ledger"


def test_a_refused_shard_has_no_ledger(actor: NodeWorker, tmp_path: Path) -> None:
    (tmp_path / "refuse-7").touch()
    actor.prepare(start(tmp_path), [])
    assert actor.do(7, {}, b"") == ([{"refused": "files have changed"}], None)


def test_a_worker_that_dies_is_reported_and_can_be_started_again(actor: NodeWorker, tmp_path: Path) -> None:
    (tmp_path / "die-7").write_text("once\n")
    actor.prepare(start(tmp_path), [])
    assert actor.do(7, {}, b"") == ([{"left": "signal 9: about to die"}], None)
    assert actor.do(7, {}, b"") == ([{"left": "its process had ended"}], None)
    assert "joined" in actor.prepare(start(tmp_path), [])[0]
    (tmp_path / "ledger-7").write_bytes(b"")
    assert "published" in actor.do(7, {}, b"")[0][-1]


def test_one_that_cannot_work_says_why(actor: NodeWorker, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    assert actor.prepare(start(tmp_path), []) == [{"broken": "The bundle is damaged.", "fix": "copy it again"}]


def test_it_says_where_it_is_and_stops(actor: NodeWorker, tmp_path: Path) -> None:
    (tmp_path / "slow-7").touch()
    actor.prepare(start(tmp_path), [])
    with ThreadPoolExecutor() as threads:
        doing = threads.submit(actor.do, 7, {}, b"")
        begun = time.monotonic()
        while (progress := actor.progress()) is None:
            assert time.monotonic() < begun + 30
            time.sleep(0.02)
        assert progress["done"] == 5
        actor.stop()
        assert doing.result(30) == ([{"stopped": True}], None)
    assert actor.progress() is None


def test_a_bundle_comes_once_however_many_ask(tmp_path: Path) -> None:
    data, fetched = b"a bundle" * 1000, list[int]()

    def fetch() -> bytes:
        fetched.append(1)
        time.sleep(0.1)
        return data

    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(lambda _: kept_bundle(sha256_bytes(data), fetch, tmp_path), range(8)))
    assert len(fetched) == 1
    assert {path.read_bytes() for path in paths} == {data}


def test_a_bundle_is_checked_by_its_hash_when_it_comes_and_where_it_lies(tmp_path: Path) -> None:
    sha256 = sha256_bytes(b"right")
    with pytest.raises(BundleError, match="altered on its way"):
        kept_bundle(sha256, lambda: b"wrong", tmp_path)
    path = kept_bundle(sha256, lambda: b"right", tmp_path)
    path.write_bytes(b"altered")
    assert kept_bundle(sha256, lambda: b"right", tmp_path).read_bytes() == b"right"


def test_bundles_that_nobody_uses_leave(tmp_path: Path) -> None:
    old = kept_bundle(sha256_bytes(b"old"), lambda: b"old", tmp_path)
    recent = kept_bundle(sha256_bytes(b"recent"), lambda: b"recent", tmp_path)
    os.utime(old, (0, time.time() - 8 * 86400))
    kept_bundle(sha256_bytes(b"new"), lambda: b"new", tmp_path)
    assert (old.exists(), recent.exists()) == (False, True)
