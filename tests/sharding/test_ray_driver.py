"""The loop between a scheduler and Ray, with a Ray of a few lines: who joins, what comes back, what is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from folder_runs import SIZE
from jobs import planned, record, written
from lits_deploy.errors import OutputError, UserError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.sharding import ray_connect, ray_driver
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.messages import Start
from lits_deploy.sharding.ray_driver import Driver
from tiny_bundle import make_tiny_bundle

MOST_LOOKS = 200


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class Finished(BaseException):
    pass


class FakeRay:
    """References are functions that give the answer; all are ready at once, but for those of `slow`."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, nodes: list[dict[str, Any]]) -> None:
        self.there, self.killed, self.stored = nodes, list[Any](), list[bytes]()

    def nodes(self) -> list[dict[str, Any]]:
        return self.there

    def put(self, data: bytes) -> int:
        self.stored.append(data)
        return len(self.stored)

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return list(references), []

    def get(self, reference: Callable[[], Any]) -> Any:
        return reference()

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)


class FakeActor:
    """act: (actor, shard) → what `do` answers, or raises."""

    def __init__(self, slot: Any, act: Callable[[FakeActor, int], Any], broken: set[str]) -> None:
        self.slot, self.prepared, self.done, self.stopped = slot, list[Any](), list[int](), 0
        answer = (
            [{"broken": "No such bundle.", "fix": "look"}] if slot.machine in broken else [{"joined": {"name": "x"}}]
        )

        def prepare(document: Any, bundles: Any) -> Callable[[], Any]:
            self.prepared.append((document, bundles))
            return lambda: answer

        def do(shard: int, entry: Any, rows: bytes) -> Callable[[], Any]:
            self.done.append(shard)
            return lambda: act(self, shard)

        def stop() -> None:
            self.stopped += 1

        self.prepare, self.do = SimpleNamespace(remote=prepare), SimpleNamespace(remote=do)
        self.progress = SimpleNamespace(remote=lambda: lambda: {"done": 1})
        self.stop = SimpleNamespace(remote=stop)


class Parent:
    """Gives shards to whoever has joined, as the scheduler does; notes all that it is told."""

    def __init__(self, shards: int) -> None:
        self.sent: list[dict[str, Any]] = []
        self.stop = Stop()
        self._todo, self._idle, self._again = list(range(shards)), list[str](), list[str]()
        self._looks = self.published = 0
        self._shards, self.at = shards, dict[str, int]()

    def send(self, **message: Any) -> None:
        self.sent.append(message)
        worker = message.get("worker", "")
        if {"joined", "published", "refused"} & set(message):
            self._idle.append(worker)
            self.published += "published" in message
        if "left" in message:
            self._todo.append(message["shard"] if "shard" in message else self.at[worker])
            if not message["lost"]:
                self._again.append(worker)

    def messages(self, seconds: float) -> Iterator[dict[str, Any]]:
        self._looks += 1
        if self.published == self._shards or self._looks > MOST_LOOKS:
            raise Finished
        while self._again:
            yield {"again": self._again.pop()}
        while self._idle and self._todo:
            worker = self._idle.pop(0)
            self.at[worker] = self._todo.pop(0)
            yield {"give": worker, "shard": self.at[worker]}


def node(name: str, cpus: int = 1) -> dict[str, Any]:
    return {"NodeID": name * 8, "NodeManagerHostname": name, "Alive": True, "Resources": {"CPU": cpus}}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", size=SIZE, crop=56).folder


@pytest.fixture
def world(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A job of four shards, a cluster of two nodes whose actors do what `act` says, and a parent."""
    job = JobFolder(str(tmp_path / "job"))
    entries = written(job, [[planned(f"{number}.png", shard=number)] for number in range(4)])
    job.write(record(shards=tuple(entries), bundle="b" * 64))
    salt = tmp_path / "salt"
    salt.write_text("a secret\n")
    salt.chmod(0o600)
    world = SimpleNamespace(job=job, ray=FakeRay([node("a"), node("b")]), parent=Parent(4), actors=[], broken=set())
    world.act = lambda actor, shard: ([{"published": 1, "failed": 0, "warnings": []}], b"ledger of %d" % shard)
    world.trouble = {}

    def actor_on(ray: Any, kind: type, slot: Any) -> FakeActor:
        world.actors.append(FakeActor(slot, lambda actor, shard: world.act(actor, shard), world.broken))
        return world.actors[-1]

    monkeypatch.setattr(ray_connect, "actor_on", actor_on)
    world.processors = {}
    monkeypatch.setattr(
        ray_connect,
        "look_at",
        lambda ray, node, machine: world.trouble.get(machine[0], {"processor": world.processors.get(machine[0], "x")}),
    )
    monkeypatch.setattr(ray_driver, "LOOK_EVERY_S", 0.0)
    start = Start(bundle=str(bundle), job=job.location, options=ClassifyOptions(salt_file=salt, ledger=tmp_path))

    def drive() -> list[dict[str, Any]]:
        setup = {"start": start.to_json(), "cpu_workers": 0}
        with pytest.raises((Finished, SystemExit)):
            Driver(world.parent, world.ray, setup).run()
        return list(world.parent.sent)

    world.drive = drive
    return world


def test_shards_go_out_and_their_ledgers_are_published(world: SimpleNamespace) -> None:
    world.drive()
    assert world.parent.published == 4
    for entry in world.job.read().shards:
        path = world.job.here(entry)
        assert path.read_bytes() == b"ledger of %d" % entry.number
        assert path.stat().st_mode & 0o777 == 0o600
    assert {actor.slot.machine[0] for actor in world.actors} == {"a", "b"}
    assert len(world.ray.stored) == 1  # the bundle, once


def test_the_start_of_a_worker_has_no_path_of_this_machine(world: SimpleNamespace, tmp_path: Path) -> None:
    world.drive()
    document, bundles = world.actors[0].prepared[0]
    assert document["options"]["salt"] == {"key": b"a secret".hex()}
    assert (document["job"], document["options"]["salt_file"], document["options"]["ledger"]) == (None, None, None)
    assert (document["goldens"], document["options"]["device"], document["record"]["shards"]) == (True, "cpu", ())
    assert [name for name, _, _ in bundles] == ["bundle"]


def test_a_lost_nodes_shard_is_done_elsewhere_and_the_node_may_come_back(world: SimpleNamespace) -> None:
    lost: list[int] = []

    def act(actor: FakeActor, shard: int) -> Any:
        if actor.slot.machine[0] == "a" and not lost:
            lost.append(shard)
            raise RayError("the node is dead")
        return [{"published": 1, "failed": 0, "warnings": []}], b""

    world.act = act
    sent = world.drive()
    assert world.parent.published == 4
    assert [message["lost"] for message in sent if "left" in message] == [True]
    assert len(world.ray.killed) == 1
    assert len(world.actors) == 3


def test_a_worker_that_died_is_started_again_on_its_node(world: SimpleNamespace) -> None:
    died: list[int] = []

    def act(actor: FakeActor, shard: int) -> Any:
        if not died:
            died.append(shard)
            return [{"left": "signal 9"}], None
        return [{"published": 1, "failed": 0, "warnings": []}], b""

    world.act = act
    world.drive()
    assert world.parent.published == 4
    assert sorted(len(actor.prepared) for actor in world.actors) == [1, 2]


def test_a_refused_shard_is_noted_in_the_job(world: SimpleNamespace) -> None:
    world.parent._shards = 99
    world.act = lambda actor, shard: ([{"refused": "files have changed"}], None)
    world.drive()
    record = world.job.read()
    assert world.job.failures(list(record.live)) == dict.fromkeys(range(4), "files have changed")


def test_a_node_that_cannot_work_is_left_alone_and_said(world: SimpleNamespace) -> None:
    world.broken.add("a-aaaaaa")
    sent = world.drive()
    assert world.parent.published == 4
    assert [message["note"] for message in sent if "note" in message] == [
        "a-aaaaaa does no shards: No such bundle. Fix: look"
    ]
    assert sum(actor.slot.machine == "a-aaaaaa" for actor in world.actors) == 1


def test_where_no_node_can_work_the_line_is_theirs(world: SimpleNamespace) -> None:
    world.broken |= {"a-aaaaaa", "b-bbbbbb"}
    assert world.drive()[-1] == {"broken": "No such bundle.", "fix": "look"}


def test_another_version_at_the_start_is_refused(world: SimpleNamespace) -> None:
    world.trouble["b"] = {"broken": "The node b has lits-deploy 0.0.9.", "fix": "pip"}
    with pytest.raises(UserError, match=r"The node b has lits-deploy 0\.0\.9\. Fix: pip"):
        world.drive()


def test_another_version_that_comes_later_is_left_alone(world: SimpleNamespace) -> None:
    def act(actor: FakeActor, shard: int) -> Any:
        world.trouble["c"] = {"broken": "The node c has lits-deploy 0.0.9.", "fix": "pip"}
        world.ray.there = [node("a"), node("b"), node("c"), node("d")]
        return [{"published": 1, "failed": 0, "warnings": []}], b""

    world.act = act
    sent = world.drive()
    assert world.parent.published == 4
    assert {actor.slot.machine[0] for actor in world.actors} >= {"a", "b", "d"}
    assert "c" not in {actor.slot.machine[0] for actor in world.actors}
    assert any("c-cccccc does no shards" in message.get("note", "") for message in sent)


def test_nodes_of_another_class_do_no_shards(world: SimpleNamespace) -> None:
    world.ray.there = [node("a"), node("b"), node("c")]
    world.processors["a"] = "riscv64"
    sent = world.drive()
    assert {actor.slot.machine[0] for actor in world.actors} == {"b", "c"}
    assert [message["note"][:24] for message in sent if "note" in message] == ["a-aaaaaa does no shards:"]


def test_a_disk_that_is_full_where_shards_are_published_ends_it(
    world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JobFolder, "publish", full)
    with pytest.raises(OutputError, match="The disk is full"):
        world.drive()


def test_a_bug_on_a_node_is_a_bug(world: SimpleNamespace) -> None:
    def act(actor: FakeActor, shard: int) -> Any:
        raise RayTaskError("ZeroDivisionError")

    world.act = act
    with pytest.raises(RayTaskError):
        world.drive()


def test_stopping_is_passed_on(world: SimpleNamespace) -> None:
    def act(actor: FakeActor, shard: int) -> Any:
        world.parent.stop.request()
        return [{"published": 1, "failed": 0, "warnings": []}], b""

    world.act = act
    world.drive()
    assert [actor.stopped for actor in world.actors] == [1, 1]
