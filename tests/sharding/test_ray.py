"""`classify --on ray` with real Rays: the bytes of one machine, a node lost or not, and a quiet terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.output_folder import FOLDER
from ray_nodes import RayNodes, ray_nodes
from spread_runs import LONG, Runs, finished, processes_of

pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("ray"))


@pytest.fixture
def two_nodes() -> Iterator[RayNodes]:
    with ray_nodes({}, {}) as nodes:
        yield nodes


def published(out: Path) -> dict[str, int]:
    """When each shard was published."""
    return {path.name: path.stat().st_mtime_ns for path in (out / FOLDER / "shards").glob("*.sqlite")}


def wait_for_shards(out: Path, run: subprocess.Popen[str], least: int) -> None:
    job, begun = JobFolder(str(out / FOLDER)), time.monotonic()
    while not job.exists() or len(job.published(job.read())) < least:
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < begun + LONG
        time.sleep(0.05)


@pytest.mark.parametrize("more", [[], ["--devices", "cpu:2"]])
def test_a_ray_of_its_own_is_quiet_and_leaves_nothing_behind(runs: Runs, tmp_path: Path, more: list[str]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with tempfile.TemporaryDirectory(prefix="ry", dir="/tmp") as here:  # names of Ray's sockets must be short
        environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": here}
        command = [*runs.on(tmp_path / "out", "ray"), *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, env=environment)
        left = {path.name for path in Path(here).iterdir()}
    assert (done.returncode, done.stderr) == (1, "")
    assert "ray" not in done.stdout.lower().replace(str(tmp_path).lower(), "")
    runs.is_whole(tmp_path / "out")
    assert [path.name for path in home.iterdir() if path.name != "cache"] == []
    assert left == {f"lits-deploy-{os.getuid()}"}  # the bundle, which it keeps


def on_the_cluster(runs: Runs, nodes: RayNodes, out: Path) -> subprocess.Popen[str]:
    """The command under way, with what it says on standard error."""
    return subprocess.Popen(
        runs.on(out, "ray://auto"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=nodes.environment,
    )


def test_a_node_that_is_lost_costs_nothing(runs: Runs, two_nodes: RayNodes, tmp_path: Path) -> None:
    with on_the_cluster(runs, two_nodes, tmp_path) as run:
        wait_for_shards(tmp_path, run, 2)
        before = published(tmp_path)
        busy = 0 if two_nodes.workers(0) else 1
        two_nodes.kill(busy)
        said = run.communicate(timeout=LONG)[1]
    assert run.returncode == 1, said
    lines = said.splitlines()
    assert all(line.startswith("warning: ") and "was lost: its node" in line for line in lines), said
    assert len(lines) <= 1
    runs.is_whole(tmp_path)
    after = published(tmp_path)
    assert before.items() <= after.items()


def test_ctrl_c_ends_workers_everywhere_and_the_same_command_goes_on(
    runs: Runs, two_nodes: RayNodes, tmp_path: Path
) -> None:
    with on_the_cluster(runs, two_nodes, tmp_path) as run:
        wait_for_shards(tmp_path, run, 1)
        below = [*processes_of(run.pid), *two_nodes.workers(0), *two_nodes.workers(1)]
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=LONG)[1]
    assert run.returncode == 130, said
    assert not psutil.wait_procs(below, timeout=20)[1]
    finished(runs.on(tmp_path, "ray://auto"), two_nodes.environment)
    runs.is_whole(tmp_path)


def test_a_killed_command_leaves_no_worker_on_any_node(runs: Runs, two_nodes: RayNodes, tmp_path: Path) -> None:
    with on_the_cluster(runs, two_nodes, tmp_path) as run:
        wait_for_shards(tmp_path, run, 1)
        below = [*processes_of(run.pid), *two_nodes.workers(0), *two_nodes.workers(1)]
        run.kill()
    assert not psutil.wait_procs(below, timeout=30)[1]
    finished(runs.on(tmp_path, "ray://auto"), two_nodes.environment)
    runs.is_whole(tmp_path)


def test_from_a_machine_that_is_no_node(runs: Runs, tmp_path: Path) -> None:
    with ray_nodes({}, client=True) as nodes:
        finished(runs.on(tmp_path, f"ray://127.0.0.1:{nodes.client_port}", 100_000), nodes.environment)
    runs.is_whole(tmp_path)


def test_a_node_with_another_version_is_one_line(runs: Runs, tmp_path: Path) -> None:
    other = tmp_path / "other" / "lits_deploy"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "0.0.9"\n')
    with ray_nodes({}, {"PYTHONPATH": str(other.parent)}) as nodes:
        done = subprocess.run(
            runs.on(tmp_path / "out", "ray://auto"), capture_output=True, text=True, timeout=LONG, env=nodes.environment
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "has lits-deploy 0.0.9; here it is" in line
    assert "Fix: pip install 'lits-deploy[cpu,ray]==" in line


@pytest.mark.parametrize("on", ["ray://127.0.0.1:1", "ray://auto"])
def test_a_cluster_out_of_reach_is_one_line(runs: Runs, tmp_path: Path, on: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(runs.on(tmp_path / "out", on), capture_output=True, text=True, timeout=LONG, env=environment)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "Fix: " in line
