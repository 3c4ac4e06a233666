"""A Ray cluster as a crew: what is said to the process that drives it, and what it says. Without Ray."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import pytest

from jobs import shard as entry
from lits_deploy.errors import DeviceError, MachineError, MissingExtra, UserError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.sharding import ray_cluster
from lits_deploy.sharding.messages import Start
from lits_deploy.sharding.ray_cluster import RayCluster, address_of, per_node
from lits_deploy.sharding.scheduler import Outcome, work_off

FAKE = r"""
import json, os, sys
from pathlib import Path
stream = os.fdopen(os.dup(0), "rb")
setup = json.loads(stream.readline())
job = Path(setup["start"]["job"])
def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
(job / "setup").write_text(json.dumps(setup))
if (job / "broken").exists():
    say(broken="The Ray cluster cannot be reached.", fix="look")
    sys.exit(2)
for name in ("a", "b"):
    say(worker=name, joined={"name": "fake"}, machine=name)
for line in stream:
    message = json.loads(line)
    if message.get("stop"):
        say(worker="a", stopped=True)
        continue
    if "again" in message:
        say(worker=message["again"], joined={"name": "fake"}, machine=message["again"])
        continue
    worker, shard = message["give"], message["shard"]
    if (job / f"lose-{shard}").exists():
        (job / f"lose-{shard}").unlink()
        say(worker=worker, left="its node", lost=True)
        say(worker=worker, progress={"files": 1, "done": 1, "failed": 0, "slices": 1, "seconds": 1.0})
        continue
    if (job / f"die-{shard}").exists():
        (job / f"die-{shard}").unlink()
        say(worker=worker, left="signal 9", lost=False)
        continue
    if (job / "crash").exists():
        print("GCS is gone", file=sys.stderr, flush=True)
        os._exit(1)
    if (job / f"slow-{shard}").exists():
        continue
    say(worker=worker, progress={"files": 10, "done": 5, "failed": 0, "slices": 5, "seconds": 0.5, "note": ""})
    say(note="from a node")
    say(worker=worker, machine=worker, published=10, failed=0, warnings=[])
(job / "left").touch()
"""


def crew(job: Path) -> RayCluster:
    start = Start(bundle="/bundle", job=str(job), options=ClassifyOptions())
    return RayCluster(start, "head:10001", 2, command=[sys.executable, "-I", "-c", FAKE])


def run(job: Path, stop: Stop | None = None) -> Outcome:
    with crew(job) as cluster:
        return work_off(cluster, [entry(n) for n in range(6)], files=60, before=0, stop=stop or Stop())


def test_shards_go_to_workers_and_the_driver_leaves_in_good_order(tmp_path: Path) -> None:
    outcome = run(tmp_path)
    assert (outcome.done, outcome.slices, outcome.notes) == (tuple(range(6)), 60, ("from a node",))
    assert '"address": "head:10001", "cpu_workers": 2' in (tmp_path / "setup").read_text()
    assert (tmp_path / "left").exists()


def test_a_lost_nodes_shard_is_done_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "lose-2").touch()
    outcome = run(tmp_path)
    assert outcome.done == tuple(range(6))
    assert [note for note in outcome.notes if note.endswith("was lost: its node")]


def test_a_worker_that_died_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "die-2").touch()
    assert run(tmp_path).done == tuple(range(6))


def test_a_cluster_that_cannot_be_used_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(UserError, match=r"^The Ray cluster cannot be reached\. Fix: look$"):
        run(tmp_path)


def test_a_cluster_that_is_lost_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "crash").touch()
    with pytest.raises(MachineError, match=r"^The Ray cluster was lost \(exit code 1: GCS is gone\)\. Fix: the same"):
        run(tmp_path)


def test_stopping_reaches_the_workers(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"slow-{number}").touch()
    stop = Stop()
    with crew(tmp_path) as cluster:
        events = list[object]()
        while len(events) < 2:
            events += cluster.wait(1.0)
        cluster.give("a", 0)
        stop.request()
        cluster.stop()
        begun = time.monotonic()
        while not (events := cluster.wait(1.0)):
            assert time.monotonic() < begun + 30
        assert [type(event).__name__ for event in events] == ["Stopped"]


@pytest.mark.parametrize(
    ("on", "address"),
    [
        ("ray", None),
        ("ray://auto", "auto"),
        ("ray://head.example:10001", "head.example:10001"),
        ("ray://[::1]:10001", "[::1]:10001"),
    ],
)
def test_addresses(monkeypatch: pytest.MonkeyPatch, on: str, address: str | None) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert address_of(on) == address


@pytest.mark.parametrize("on", ["", "ray:", "ray://", "ray://head", "slurm", "rays", "ray://head:port", "ray://a b:1"])
def test_what_is_no_address_is_refused(on: str) -> None:
    with pytest.raises(UserError, match=r"is nothing to run on\. Fix: --on ray, or"):
        address_of(on)


def test_without_ray_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(MissingExtra, match=r"^Ray is not installed\. Fix: pip install 'lits-deploy\[ray\]'$"):
        address_of("ray")


@pytest.mark.parametrize(("devices", "expected"), [(None, 0), ("all", 0), ("cpu", 1), ("cpu:2", 2)])
def test_devices_of_every_node(devices: str | None, expected: int) -> None:
    assert per_node(devices) == expected


@pytest.mark.parametrize("devices", ["cuda:0", "cpu:0", "cpu:65", "gpu", ""])
def test_which_gpu_is_rays_decision(devices: str) -> None:
    with pytest.raises(DeviceError, match=r"Fix: with --on: --devices all, or cpu:2"):
        per_node(devices)
