"""`classify --devices` with real children: the bytes of one machine, whoever is killed; Ctrl-C in good order."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import worlds
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.output_folder import FOLDER
from spread_runs import LONG, Runs, finished, processes_of
from tiny_unet import make_tiny_unet

KILLS = 20


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("devices"))


def wait_for_a_shard(out: Path, run: subprocess.Popen[Any]) -> None:
    """Until one is done and others are under way."""
    job, begun = JobFolder(str(out / FOLDER)), time.monotonic()
    while not (job.exists() and job.published(job.read())):
        assert time.monotonic() < begun + LONG
        assert run.poll() is None
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("devices", "shard_slices"),
    [
        ("cpu:2", 50),
        pytest.param("cpu:1", 50, marks=pytest.mark.slow),
        pytest.param("cpu:4", 50, marks=pytest.mark.slow),
        pytest.param("cpu:2", 500, marks=pytest.mark.slow),
        pytest.param("all", 100_000, marks=pytest.mark.slow),
    ],
)
def test_children_give_the_bytes_of_one_machine(runs: Runs, tmp_path: Path, devices: str, shard_slices: int) -> None:
    said = finished(runs.spread(tmp_path, devices, shard_slices))
    runs.is_whole(tmp_path)
    assert "lost" not in said
    again = finished(runs.spread(tmp_path, devices, shard_slices))
    runs.is_whole(tmp_path)
    assert again == said


def test_ctrl_c_ends_children_in_good_order_and_the_same_command_goes_on(runs: Runs, tmp_path: Path) -> None:
    with subprocess.Popen(runs.spread(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        wait_for_a_shard(tmp_path, run)
        below = processes_of(run.pid)
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=LONG)[1]
    if run.returncode != 1:  # a fast machine: it was done before
        assert run.returncode == 130, said
        assert "the same command goes on from here" in said
    assert not psutil.wait_procs(below, timeout=5)[1]
    finished(runs.spread(tmp_path))
    runs.is_whole(tmp_path)


def test_a_second_ctrl_c_ends_at_once(runs: Runs, tmp_path: Path) -> None:
    with subprocess.Popen(runs.spread(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        wait_for_a_shard(tmp_path, run)
        for child in (below := processes_of(run.pid)):
            child.suspend()  # so that nothing ends in good order
        run.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert run.poll() is None
        run.send_signal(signal.SIGINT)
        assert run.wait(10) == 130
    for child in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.resume()  # what is suspended cannot notice that nobody is there any more
    assert not psutil.wait_procs(below, timeout=LONG)[1]


def test_a_killed_command_takes_its_children_along(runs: Runs, tmp_path: Path) -> None:
    with subprocess.Popen(runs.spread(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        begun = time.monotonic()
        while len(below := processes_of(run.pid)) < 3:
            assert time.monotonic() < begun + LONG
            time.sleep(0.02)
        run.kill()
    assert not psutil.wait_procs(below, timeout=5)[1]
    finished(runs.spread(tmp_path))
    runs.is_whole(tmp_path)


def test_masks_are_those_of_one_machine(tmp_path: Path) -> None:
    bundle = make_tiny_unet(tmp_path / "unet", size=worlds.SIZE).folder
    for name, down in (("ct", (0, 1, 0)), ("ct2", (0, -1, 0)), ("ct3", (0, 1, 0))):
        worlds.Series(name=name, count=12, step=2.0, down=down).write(tmp_path / "scans")
    command = [sys.executable, "-m", "lits_deploy", "segment", str(bundle), str(tmp_path / "scans"), "--salt", "one"]
    command += ["--masks", "png,nifti", "--runtime", "onnxruntime"]
    for name, more in (("whole", []), ("out", ["--devices", "cpu:2", "--shard-slices", "12"])):
        done = subprocess.run([*command, "--out", str(tmp_path / name), *more], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    for name in ("slices.csv", "studies.csv", "volumes.csv", "masks.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert tree(tmp_path / "out" / "masks") == tree(tmp_path / "whole" / "masks")
    assert len(JobFolder(str(tmp_path / "out" / FOLDER)).read().shards) == 3


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_twenty_random_kills_give_the_same_bytes(runs: Runs, tmp_path: Path) -> None:
    """Of the command, of its children, and of their decode workers; what was published is done once."""
    dice, kills, rounds = random.Random(), 0, 0
    while kills < KILLS:
        rounds += 1
        out, begun = tmp_path / f"out{rounds}", time.monotonic()
        published: dict[str, int] = {}
        while kills < KILLS and time.monotonic() < begun + LONG:
            with subprocess.Popen(runs.spread(out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
                time.sleep(dice.uniform(0.5, 4.0))
                below = processes_of(run.pid)
                victim = dice.choice(["command", "child", "child"])
                if run.poll() is not None:
                    break
                if victim == "command" or not below:
                    run.kill()
                else:
                    with_children = [one for one in below if one.is_running()]
                    dice.choice(with_children or below).kill()
                kills += 1
                if victim != "command":
                    run.communicate(timeout=LONG)
            for path in (out / FOLDER / "shards").glob("*.sqlite"):
                assert published.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
        finished(runs.spread(out))
        runs.is_whole(out)
        for name, modified in published.items():
            assert (out / FOLDER / "shards" / name).stat().st_mtime_ns == modified


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--devices", "cpu:2", "--device", "cpu"], "--device and --devices name the same thing."),
        (["--devices", "tpu"], "`tpu` names no devices of one kind."),
        (["--devices", "cpu:2", "--tune"], "--tune measures one device."),
        (["--shard-slices", "50"], "--shard-slices is of a run on several devices."),
        (["--on", "spark"], "`spark` is nothing to run on."),
    ],
)
def test_what_does_not_go_together_is_one_line(runs: Runs, tmp_path: Path, more: list[str], said: str) -> None:
    done = subprocess.run(runs.command(tmp_path / "out", *more), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said} Fix: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
