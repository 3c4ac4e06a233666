"""Devices by name, and one child process for each: with children that decode nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from fake_worker import COMMAND
from jobs import shard as entry
from lits_deploy import machine, nvidia
from lits_deploy.errors import DeviceError, UserError
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.pipeline.stop import Stop
from lits_deploy.runtime.device import Device
from lits_deploy.sharding import targets as targets_module
from lits_deploy.sharding.crew import Joined, Left
from lits_deploy.sharding.devices import Devices
from lits_deploy.sharding.messages import Start
from lits_deploy.sharding.scheduler import Outcome, work_off
from lits_deploy.sharding.targets import Target, targets

CPUS = [Target(name="cpu:0", device="cpu"), Target(name="cpu:1", device="cpu")]


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, none of them limited."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(targets_module, "_TOPOLOGY", Path("/nonexistent"))


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu", [("cpu", "cpu", ())]),
        ("cpu:1", [("cpu", "cpu", ())]),
        ("cpu:2", [("cpu:0", "cpu", (0, 1, 2, 3)), ("cpu:1", "cpu", (4, 5, 6, 7))]),
        ("cpu:3", [("cpu:0", "cpu", (0, 1)), ("cpu:1", "cpu", (2, 3, 4)), ("cpu:2", "cpu", (5, 6, 7))]),
        ("cuda:1", [("cuda:1", "cuda:1", ())]),
        ("cuda:1, cuda:0", [("cuda:1", "cuda:1", (0, 1, 2, 3)), ("cuda:0", "cuda:0", (4, 5, 6, 7))]),
    ],
)
def test_devices_by_name(text: str, expected: list[tuple[str, str, tuple[int, ...]]]) -> None:
    assert [(target.name, target.device, target.cores) for target in targets(text)] == expected


@pytest.mark.usefixtures("cores")
def test_more_children_than_cores_share_them() -> None:
    assert sorted(core for target in targets("cpu:10") for core in target.cores)[:2] == [0, 0]
    assert all(len(target.cores) == 1 for target in targets("cpu:10"))


@pytest.mark.usefixtures("cores")
def test_a_quota_of_time_is_shared_as_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 4)
    assert [(target.cores, target.threads, target.workers) for target in targets("cpu:2")] == [((), 2, 1)] * 2


def test_cores_of_a_socket_go_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for core, (package, own) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        folder = tmp_path / f"cpu{core}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{package}\n")
        (folder / "core_id").write_text(f"{own}\n")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setattr(targets_module, "_TOPOLOGY", tmp_path)
    assert [target.cores for target in targets("cpu:2")] == [(0, 2), (1, 3)]


@pytest.mark.parametrize("text", ["", "gpu", "cpu:0", "cpu:65", "cuda", "cpu,cuda:0", "cuda:0,all", "cuda:0,cuda:0"])
def test_what_is_no_device_is_refused(text: str) -> None:
    with pytest.raises(DeviceError, match=r"Fix: "):
        targets(text)


def test_all_is_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module, "resolve", lambda runtime, device: ("openvino", Device("cpu")))
    assert [target.device for target in targets("all")] == ["cpu"]


def test_all_is_every_gpu_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module, "resolve", lambda runtime, device: ("onnxruntime", Device("cuda")))
    monkeypatch.setattr(nvidia, "count", lambda: 4)
    full = nvidia.Trouble("it is full", "end other programs")
    monkeypatch.setattr(nvidia, "memory_trouble", lambda index=0: full if index == 2 else None)
    assert [target.device for target in targets("all")] == ["cuda:0", "cuda:1", "cuda:3"]


def test_gpus_of_one_model_work_together(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(targets_module, "resolve", lambda runtime, device: ("onnxruntime", Device("cuda")))
    monkeypatch.setattr(nvidia, "count", lambda: 4)
    monkeypatch.setattr(nvidia, "memory_trouble", lambda index=0: None)
    monkeypatch.setattr(nvidia, "gpu_name", lambda index: "T4" if index == 1 else "L4")
    assert [target.device for target in targets("all")] == ["cuda:0", "cuda:2", "cuda:3"]
    assert "cuda:1 is no L4" in caplog.text
    with pytest.raises(DeviceError, match="names GPUs of several models"):
        targets("cuda:0,cuda:1")


def test_threads_and_workers_that_the_user_asked_for_stay() -> None:
    target = Target(name="cpu:0", device="cpu", threads=2, workers=1)
    given = target.options(ClassifyOptions(threads=5, workers=3, tune=True))
    assert (given.device, given.threads, given.workers, given.tune) == ("cpu", 5, 3, False)
    given = target.options(ClassifyOptions())
    assert (given.threads, given.workers) == (2, 1)


def crew(job: Path, some: list[Target] | None = None, **options: object) -> Devices:
    job.mkdir(exist_ok=True)
    start = Start(bundle="/bundle", job=str(job), options=ClassifyOptions(**options))  # type: ignore[arg-type]
    return Devices(start, CPUS if some is None else some, command=COMMAND)


def run(job: Path, shards: int, stop: Stop | None = None) -> Outcome:
    with crew(job) as children:
        return work_off(children, [entry(n) for n in range(shards)], files=100, before=0, stop=stop or Stop())


def done(job: Path) -> list[int]:
    return [int(line.split()[0]) for line in (job / "done").read_text().splitlines()]


def test_children_do_all_shards_each_once(tmp_path: Path) -> None:
    outcome = run(tmp_path, 9)
    assert sorted(done(tmp_path)) == list(outcome.done) == list(range(9))
    assert (outcome.slices, outcome.notes) == (90, ("a note", "a warning"))
    assert len(list(tmp_path.glob("pid-*"))) == 2
    for left in tmp_path.glob("pid-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(left.name[4:]), 0)


def test_a_killed_child_is_started_again_and_its_shard_done(tmp_path: Path) -> None:
    (tmp_path / "die-3").write_text("once\n")
    outcome = run(tmp_path, 6)
    assert sorted(done(tmp_path)) == list(range(6))
    assert len(list(tmp_path.glob("pid-*"))) == 3
    (lost,) = (note for note in outcome.notes if "lost" in note)
    assert lost.endswith("was lost: signal 9: about to die")


def test_a_shard_that_kills_two_children_has_failed(tmp_path: Path) -> None:
    (tmp_path / "die-3").write_text("once\ntwice\nthrice\n")
    outcome = run(tmp_path, 6)
    assert outcome.failed == {3: "signal 9: about to die"}
    assert sorted(done(tmp_path)) == [0, 1, 2, 4, 5]


def test_a_refused_shard_has_failed_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "refuse-2").touch()
    assert run(tmp_path, 4).failed == {2: "files have changed"}


def test_what_is_wrong_for_all_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(UserError, match=r"^The bundle is damaged\. Fix: copy it again$"):
        run(tmp_path, 4)


def test_stopping_waits_for_what_children_are_at(tmp_path: Path) -> None:
    stop = Stop()
    for number in (0, 1):
        (tmp_path / f"slow-{number}").touch()
    threading.Timer(0.5, stop.request).start()
    outcome = run(tmp_path, 9, stop)
    assert (outcome.done, outcome.failed, outcome.left) == ((), {}, tuple(range(9)))


def test_a_request_to_stop_is_noticed_at_once(tmp_path: Path) -> None:
    with crew(tmp_path) as children:
        while len([event for event in children.wait(1.0) if isinstance(event, Joined)]) < 1:
            pass
        begun = time.monotonic()
        threading.Timer(0.05, children.wake).start()
        children.wait(5.0)
        assert time.monotonic() - begun < 4.0


def test_an_error_of_the_parent_ends_the_children(tmp_path: Path) -> None:
    (tmp_path / "slow-0").touch()

    def wait_and_fail() -> None:
        with crew(tmp_path, CPUS[:1]) as children:
            joined = False
            while not joined:
                joined = any(isinstance(event, Joined) for event in children.wait(1.0))
            children.give("cpu:0", 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_and_fail()
    (child,) = tmp_path.glob("pid-*")
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.name[4:]), 0)


def test_a_shard_for_a_child_that_has_just_died_is_not_lost(tmp_path: Path) -> None:
    with crew(tmp_path, CPUS[:1]) as children:
        while not any(isinstance(event, Joined) for event in children.wait(1.0)):
            pass
        (child,) = tmp_path.glob("pid-*")
        os.kill(int(child.name[4:]), signal.SIGKILL)
        time.sleep(0.2)
        children.give("cpu:0", 0)
        left = [event for _ in range(20) for event in children.wait(0.1) if isinstance(event, Left)]
        assert [event.worker for event in left] == ["cpu:0"]
        assert not children.expected


def test_the_salt_is_not_on_the_command_line(tmp_path: Path) -> None:
    with crew(tmp_path, CPUS[:1], salt="guess me"):
        while not (pids := list(tmp_path.glob("pid-*"))):
            time.sleep(0.02)
        assert "guess me" in pids[0].read_text()
        assert b"guess me" not in Path(f"/proc/{pids[0].name[4:]}/cmdline").read_bytes()
