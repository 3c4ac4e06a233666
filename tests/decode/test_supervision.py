"""Decode workers that hang, swell, die, lie or are killed, with real processes: one file's trouble is one row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fake_runtime import FakeRuntime
from folder_runs import SIZE, classify, outcome, rows, tricks, workers_of
from lits_deploy.bundle import Bundle
from lits_deploy.decode import pool, process
from lits_deploy.decode.settings import QUEUE_DEPTH, buffers_for
from lits_deploy.errors import LitsError
from lits_deploy.machine import import_path
from lits_deploy.pipeline import defaults
from lits_deploy.scans.appearance import GREY
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


GOOD = {f"good{i:02d}": f"grey {i}" for i in range(30)}


def test_a_file_that_hangs_is_a_row_and_its_neighbours_are_not(bundle: Bundle, tmp_path: Path) -> None:
    scans = tricks(tmp_path / "scans", **GOOD, good10a="hang", good20a="hang")
    started = time.monotonic()
    summary = classify(bundle, scans, tmp_path / "out", time_limit_s=0.5, batch_size=4, workers=2)
    assert time.monotonic() - started < 15
    expected = {f"{name}.test": "ok" for name in GOOD}
    expected |= dict.fromkeys(("good10a.test", "good20a.test"), "decoding took longer than 0.5 s")
    assert outcome(tmp_path / "out") == expected
    assert summary.slices == 30


def test_a_file_that_swells_is_a_row(bundle: Bundle, tmp_path: Path) -> None:
    scans = tricks(tmp_path / "scans", **GOOD, good10a="swell")
    classify(bundle, scans, tmp_path / "out", memory_limit_mib=64, workers=1)
    assert outcome(tmp_path / "out")["good10a.test"] == "decoding took more than 64 MiB of memory"
    assert list(outcome(tmp_path / "out").values()).count("ok") == 30


def test_a_file_that_kills_its_decoder_twice_is_a_row(bundle: Bundle, tmp_path: Path) -> None:
    scans = tricks(tmp_path / "scans", **GOOD, good10a="die", good11a="exit")
    summary = classify(bundle, scans, tmp_path / "out", workers=1)
    found = outcome(tmp_path / "out")
    assert found["good10a.test"] == "the decoder died (signal 11)"
    assert found["good11a.test"] == "the decoder died (exit code 3)"
    assert list(found.values()).count("ok") == 30
    assert summary.warnings == ("4 decode workers were replaced.",)


def test_a_decoder_that_dies_once_costs_no_row(bundle: Bundle, tmp_path: Path) -> None:
    scans = tricks(tmp_path / "scans", **GOOD, good10a=f"die once {tmp_path / 'marker'}")
    summary = classify(bundle, scans, tmp_path / "out", workers=1)
    assert (summary.failed, summary.slices) == (0, 31)


def test_workers_killed_from_outside_cost_no_row(bundle: Bundle, tmp_path: Path) -> None:
    scans = folder_of_slices(tmp_path / "scans", 60, size=SIZE)
    classify(bundle, scans, tmp_path / "undisturbed")
    killed = []

    def kill() -> None:
        while len(killed) < 4:  # one at a time: the same file is not hit twice
            for worker in workers_of()[:1]:
                worker.kill()
                killed.append(worker.pid)
            time.sleep(0.2)

    killer = threading.Thread(target=kill)
    killer.start()
    network = FakeRuntime(shape=(1, SIZE, SIZE), seconds_per_batch=0.1)
    summary = classify(bundle, scans, tmp_path / "out", network=network, workers=2, batch_size=4)
    killer.join()
    assert (summary.failed, summary.slices) == (0, 60)
    assert (tmp_path / "out/slices.csv").read_bytes() == (tmp_path / "undisturbed/slices.csv").read_bytes()


@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_files_with_many_slices_fill_as_many_slots_as_they_need(
    bundle: Bundle, tmp_path: Path, batch_size: int
) -> None:
    files = {f"v{i}": f"slices {n}" for i, n in enumerate((40, 1, 3, 25, 2))}
    summary = classify(bundle, tricks(tmp_path / "scans", **files), tmp_path / "out", batch_size=batch_size, workers=2)
    assert (summary.files, summary.slices, summary.failed) == (5, 71, 0)
    found = [(row["path"], int(row["index"])) for row in rows(tmp_path / "out")]
    assert found == [(f"v{i}.test", k) for i, n in enumerate((40, 1, 3, 25, 2)) for k in range(n)]
    assert {row["window"] for row in rows(tmp_path / "out")} == {"tested"}


@pytest.mark.parametrize("every_s", [0.0, 60.0], ids=["its slices in the ledger", "its slices yet to be written"])
def test_a_file_that_breaks_after_some_slices_is_one_failed_row(
    bundle: Bundle, tmp_path: Path, every_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "COMMIT_EVERY_S", every_s)
    marker = tmp_path / "marker"
    scans = tricks(
        tmp_path / "scans",
        a="slices 30 then fail",
        b="slices 30 then hang",
        c="slices 30 then die",
        d=f"slices 30 then die once {marker}",
        e="slices 2 then fail",
    )
    classify(bundle, scans, tmp_path / "out", batch_size=4, time_limit_s=1, workers=2)
    found = rows(tmp_path / "out")
    assert {row["path"]: row["reason"] for row in found if row["status"] == "failed"} == {
        "a.test": "broken on purpose",
        "b.test": "decoding took longer than 1 s",
        "c.test": "the decoder died (signal 11)",
        "e.test": "broken on purpose",
    }
    assert [int(row["index"]) for row in found if row["path"] == "d.test"] == list(range(31))
    assert len(found) == 4 + 31


def test_readers_that_misbehave_are_rows_without_their_message(bundle: Bundle, tmp_path: Path) -> None:
    scans = tricks(
        tmp_path / "scans", bug="bug", noise="noise", shape="wrong shape", nothing="nothing", long="x" * 2000
    )
    classify(bundle, scans, tmp_path / "out")
    assert outcome(tmp_path / "out") == {
        "bug.test": "the decoder failed (KeyError)",
        "noise.test": "ok",
        "shape.test": "the decoder failed (TypeError)",
        "nothing.test": "the file holds no slice",
        "long.test": "0 MiB: larger than any slice",
    }


def test_a_slow_network_does_not_make_decoders_late(bundle: Bundle, tmp_path: Path) -> None:
    scans = tricks(tmp_path / "scans", v="slices 20", **GOOD)
    network = FakeRuntime(shape=(1, SIZE, SIZE), seconds_per_batch=0.3)
    summary = classify(bundle, scans, tmp_path / "out", network=network, time_limit_s=0.25, batch_size=8, workers=2)
    assert (summary.failed, summary.slices) == (0, 50)


def test_long_names_do_not_fill_the_pipes(bundle: Bundle, tmp_path: Path) -> None:
    deep = tmp_path
    while len(os.fsencode(deep)) < 3700:
        deep = deep / ("ä" * 100)
    scans = tricks(deep, **GOOD, good00a="hang")
    summary = classify(bundle, scans, tmp_path / "out", time_limit_s=1, workers=1)
    assert (summary.slices, summary.failed) == (30, 1)


def test_workers_that_cannot_start_are_reported_with_their_message(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_BOOT", "raise SystemExit('no numpy here')")
    with pytest.raises(LitsError, match=r"do not start.*no numpy here"):
        classify(bundle, tricks(tmp_path / "scans", **GOOD), tmp_path / "out")
    assert not workers_of()


@pytest.mark.parametrize(
    "nonsense",
    [{"file": 99, "filled": [0, 1, 2], "ms": 1}, {"file": 1, "neighbour": 0}, [1]],
    ids=["slots", "neighbour", "list"],
)
def test_a_worker_that_talks_nonsense_is_replaced(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nonsense: object
) -> None:
    marker = tmp_path / "marker"
    boot = f"""
import json, os, pathlib, sys
if not pathlib.Path({str(marker)!r}).exists():
    pathlib.Path({str(marker)!r}).touch()
    print(json.dumps({{"ready": True}}), flush=True)
    sys.stdin.readline()
    print(json.dumps({nonsense!r}), flush=True)
    sys.stdin.read()
"""
    monkeypatch.setattr(process, "_BOOT", boot + process._BOOT)
    summary = classify(bundle, tricks(tmp_path / "scans", **GOOD), tmp_path / "out", workers=1)
    assert (summary.slices, summary.failed) == (30, 0)


def test_time_in_which_everything_stood_still_is_nobodys_fault(bundle: Bundle, tmp_path: Path) -> None:
    scans = tricks(tmp_path / "scans", **{f"slow{i}": "slow 0.3" for i in range(6)})
    with python_run(bundle, scans, tmp_path / "out", "time_limit_s=0.8, workers=1") as run:
        workers = wait_for_workers(run)
        time.sleep(0.6)
        for pid in (run.pid, *(worker.pid for worker in workers)):
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2.5)
        for pid in (run.pid, *(worker.pid for worker in workers)):
            os.kill(pid, signal.SIGCONT)
        assert run.wait(timeout=30) == 0
    assert set(outcome(tmp_path / "out").values()) == {"ok"}


def python_run(bundle: Bundle, scans: Path, out: Path, options: str = "") -> subprocess.Popen[bytes]:
    """`folder_runs.classify` in a process of its own, without a `__main__` guard."""
    program = f"""
        from pathlib import Path
        from folder_runs import classify
        from lits_deploy.bundle import Bundle
        classify(Bundle.open(Path({str(bundle.folder)!r})), Path({str(scans)!r}), Path({str(out)!r}), {options})
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], env=environment)


def wait_for_workers(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    deadline = time.monotonic() + 20
    while not (workers := workers_of(run.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return workers


def test_no_worker_outlives_its_parent(bundle: Bundle, tmp_path: Path) -> None:
    scans = tricks(tmp_path / "scans", a=f"hang at {tmp_path / 'marker'}")
    with python_run(bundle, scans, tmp_path / "out", "workers=1") as run:
        workers = wait_for_workers(run)
        deadline = time.monotonic() + 60
        while not (tmp_path / "marker").exists():  # before it is at its file, a worker ends with the pipe alone
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert all(worker.is_running() for worker in workers)
        run.kill()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert workers
    assert not alive


def test_workers_import_neither_the_command_line_nor_a_runtime() -> None:
    program = "import sys, lits_deploy.decode.worker, lits_deploy.scans.image; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"typer", "rich", "pyarrow", "onnxruntime", "torch", "sqlite3", "multiprocessing", "onnx"}
    assert not heavy.intersection(found)


def test_the_current_folder_is_not_on_a_workers_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    package_root = str(Path(process.__file__).parents[2])
    monkeypatch.setattr(sys, "path", ["", "readers", *(entry for entry in sys.path if entry != package_root)])
    path = import_path()
    assert path[:2] == [package_root, str(tmp_path / "readers")]
    assert not {"", str(tmp_path)}.intersection(path)


def test_queues_are_deep_enough_never_to_run_dry() -> None:
    assert QUEUE_DEPTH >= 2
    for workers in (1, 4):
        for batch in (1, 8, 32):
            for lanes in (1, 2, 4):
                room = buffers_for(workers, batch, lanes) * batch
                assert room >= workers * QUEUE_DEPTH + (lanes + 1) * batch


def test_how_a_slice_looks_is_checked() -> None:
    """It goes into the ledger as it is said."""
    work = SimpleNamespace(job=SimpleNamespace(file=1), neighbours=())
    worker: Any = SimpleNamespace(ready=True, jobs=[work], leases={3})
    for look, sound in (([], True), ([1] * len(GREY), True), ([1], False), (None, False), ([1e9] * len(GREY), False)):
        message = {"file": 1, "filled": [[3, 0, {}, 7, look]], "excluded": []}
        assert pool._makes_sense(worker, message) == sound
