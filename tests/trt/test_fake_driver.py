"""CUDA as JetPack 6 has it, without a GPU: our runtime and bindings over the real cuda-python 12.6 over a driver in C.

Each scene (on_fake_driver.py) is a process: the driver is loaded once and for all, and counts at the end what is left.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BINDINGS = Path(pytest.__file__).parents[4] / "bindings" / "cuda-python==12.6.2.post1"
"""In the virtual environment that pytest is of, as `make bindings` fills it."""

HERE = Path(__file__).parent
SUPPORT = HERE.parent / "support"
CLEAN = "left: memory 0 pinned 0 streams 0 events 0 graphs 0 execs 0"

Play = Callable[..., tuple[str, list[str]]]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    if not BINDINGS.is_dir():
        pytest.skip(f"needs {BINDINGS.name}, which `make bindings` installs")
    folder = tmp_path_factory.mktemp("driver")
    flags = ["-shared", "-fPIC", "-Wall", "-Werror", "-o", str(folder / "libcuda.so.1")]
    subprocess.run([compiler, *flags, str(HERE / "fake_libcuda.c"), "-ldl", "-lpthread"], check=True)
    return folder


@pytest.fixture
def play(driver: Path, tmp_path: Path) -> Play:
    """What a scene prints, and the calls that reached the driver."""

    def run(scene: str, *, with_driver: bool = True, **settings: int) -> tuple[str, list[str]]:
        log = tmp_path / "calls"
        environment = os.environ | {"FAKE_CUDA_" + name: str(value) for name, value in settings.items()}
        environment |= {"FAKE_CUDA_LOG": str(log), "PYTHONPATH": f"{BINDINGS}:{SUPPORT}"}
        environment["LD_LIBRARY_PATH"] = str(driver if with_driver else tmp_path)
        command = [sys.executable, str(HERE / "on_fake_driver.py"), scene]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout, log.read_text().splitlines() if log.exists() else []

    return run


def test_a_gpu_is_described(play: Play) -> None:
    play("describe", DEVICES=2)


def test_batches_are_copied_computed_captured_and_everything_is_given_back(play: Play) -> None:
    _, calls = play("infer")
    assert calls[-1] == CLEAN
    assert calls[0] == "cuStreamCreate 1 on 0"  # one that does not wait for the default stream
    names = [call.split()[0] for call in calls]
    for once_for_each_size in ("cuStreamBeginCapture", "cuGraphInstantiate", "cuGraphDestroy", "cuGraphExecDestroy"):
        assert names.count(once_for_each_size) == 3
    assert "cuStreamBeginCapture 1" in calls  # other threads' calls do not break it
    assert names.count("cuGraphLaunch") == 6
    # A copy is queued before it is done, and the first one is done only once somebody waits.
    first = names.index("cuStreamSynchronize")
    assert names[:first].count("cuMemcpyHtoDAsync") == names[:first].count("cuMemcpyDtoHAsync") == 1
    assert calls[first + 1 : first + 4] == ["do copy 512", "do host function", "do copy 96"]  # 8 slices, 8 × 3 logits
    assert not [call for call in calls[:first] if call.startswith("do ")]
    assert not [call for call in calls if call.endswith(("not there", "under way"))]
    ended = [call.split()[0] for call in calls[:-1] if re.match(r"cu\w*(Destroy|Free)", call)]
    assert ended[-1] == "cuStreamDestroy"
    assert ended.index("cuGraphExecDestroy") < ended.index("cuMemFree")  # a graph names memory


def test_a_second_gpu_is_used_from_any_thread(play: Play) -> None:
    _, calls = play("second_gpu", DEVICES=2)
    assert calls[-1] == CLEAN
    assert {call.rpartition(" on ")[2] for call in calls if " on " in call} == {"1"}


def test_out_of_memory_is_our_error_and_a_smaller_batch_goes_on(play: Play) -> None:
    said, calls = play("out_of_memory", MEMORY=1300)
    assert said.startswith("cudaMalloc: cudaErrorMemoryAllocation")
    assert [call for call in calls if call.endswith("refused")]
    assert calls[-1] == CLEAN


def test_other_threads_run_while_one_waits_for_the_gpu(play: Play) -> None:
    """In cuda-python 12.6 `cudaEventSynchronize` holds Python's lock as it waits, `cudaStreamSynchronize` does not."""
    _, calls = play("other_threads_run")
    assert calls[-1] == CLEAN


def test_without_a_driver_or_a_gpu_there_is_one_line(play: Play) -> None:
    for settings in ({"with_driver": False}, {"INIT": 100}, {"DEVICES": 0}):
        said, _ = play("no_gpu", **settings)
        assert said.count("\n") == 1
        assert "GPU" in said
        assert "Fix: " in said
