"""The command: options reach the run, exit codes tell, standard output can be piped, Ctrl-C is clean."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from folder_runs import SIZE, rows, workers_of
from lits_deploy import DISCLAIMER
from lits_deploy.bundle import Bundle
from pictures import encoded, folder_of_slices, grey_pixels
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=SIZE, crop=56)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return folder_of_slices(tmp_path / "scans", 12, size=SIZE)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "lits_deploy", "classify", *map(str, arguments)]


def run(*arguments: object, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, timeout=60)
    assert done.returncode == code, done.stderr
    return done


def test_a_folder_becomes_tables_and_a_summary(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    (scans / "notes.txt").write_text("no scan")
    out = tmp_path / "out"
    done = run(bundle.folder, scans, "--out", out, "--format", "csv, jsonl", "--batch-size", 4, "--workers", 2)
    assert done.stderr == ""
    for expected in ("no liver", "liver with lesion", "12 slices in", "slices/s", f"→ {out}/slices.csv", DISCLAIMER):
        assert expected in done.stdout
    assert "1 other files not read (.txt 1)" in done.stdout
    assert len(rows(out)) == 12
    options = json.loads((out / "run.json").read_text())["options"]
    assert (options["batch_size"], options["workers"], options["formats"]) == (4, 2, ["csv", "jsonl"])


def test_results_is_the_default_and_failures_exit_1_with_their_reasons(
    bundle: Bundle, scans: Path, tmp_path: Path
) -> None:
    (scans / "empty.png").write_bytes(b"")
    (scans / "true-colour.png").write_bytes(encoded(np.dstack([grey_pixels(SIZE, seed) for seed in range(3)])))
    done = run(bundle.folder, scans, cwd=tmp_path, code=1)
    assert "failed (2)" in done.stdout
    assert "the file is empty" in done.stdout
    assert len(rows(tmp_path / "results")) == 14
    again = run(bundle.folder, scans, cwd=tmp_path, code=1)
    assert "0 slices in" in again.stdout
    assert "12 before" in again.stdout


def test_not_recursive(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    (scans / "top.png").write_bytes(encoded(grey_pixels(SIZE)))
    run(bundle.folder, scans, "--no-recursive", "--out", tmp_path / "out")
    assert [row["path"] for row in rows(tmp_path / "out")] == ["top.png"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--device", "cuda:63"], "cuda:63"),
        (["--device", "gpu"], "`gpu` is not a device"),
        (["--artifact", "int3"], "choose one of: fp32"),
        (["--runtime", "abacus"], "use one of: auto, onnxruntime"),
        (["--format", "xls"], "use csv, parquet, jsonl"),
        (["--time-limit", "0"], "raise the limit of time"),
        (["--batch-size", "0"], "--batch-size"),
    ],
)
def test_users_errors_are_one_line_and_exit_2(
    bundle: Bundle, scans: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    done = run(bundle.folder, scans, "--out", tmp_path / "out", *arguments, code=2)
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_wrong_folders_are_named(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    assert "is not a bundle" in run(scans, scans, code=2, cwd=tmp_path).stderr
    said = run(bundle.folder, tmp_path / "nowhere", code=2, cwd=tmp_path).stderr
    assert f"There is no {tmp_path / 'nowhere'}" in said
    (tmp_path / "empty").mkdir()
    assert (
        "looked for DICOM, NIfTI, PNG and JPEG" in run(bundle.folder, tmp_path / "empty", code=2, cwd=tmp_path).stderr
    )


def answered(out: Path) -> int:
    """Slices that the ledger of a run that is under way has."""
    try:
        with closing(sqlite3.connect(f"file:{out / 'ledger.sqlite'}?mode=ro", uri=True)) as ledger:
            return int(ledger.execute("SELECT count(*) FROM slice").fetchone()[0])
    except sqlite3.OperationalError:  # not there yet, or not whole
        return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_in_good_order(bundle: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    scans, out = folder_of_slices(tmp_path / "scans", 3000, size=SIZE), tmp_path / "out"
    arguments = command(bundle.folder, scans, "--out", out, "--batch-size", 1)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while answered(out) < 20:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        workers = workers_of(process.pid)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + number, stderr
    assert "the same command goes on from here" in stdout
    assert "Traceback" not in stderr
    done = len(rows(out))
    assert 0 < done < 3000
    assert json.loads((out / "run.json").read_text())["stopped"] is True
    assert not any(worker.is_running() for worker in workers)
    resumed = run(bundle.folder, scans, "--out", out)
    assert f"{done} before" in resumed.stdout
    assert len(rows(out)) == 3000


def test_a_second_ctrl_c_stops_at_once_and_the_ledger_is_whole(bundle: Bundle, tmp_path: Path) -> None:
    scans, out = folder_of_slices(tmp_path / "scans", 40, size=SIZE), tmp_path / "out"
    program = f"""
from pathlib import Path
from folder_runs import classify
from lits_deploy.bundle import Bundle
from lits_deploy.pipeline.stop import stop_on_signals
from lits_deploy.program import run_program
from fake_runtime import FakeRuntime
def main():
    with stop_on_signals() as stop:
        network = FakeRuntime(shape=(1, {SIZE}, {SIZE}), seconds_per_batch=2.0)
        classify(Bundle.open(Path({str(bundle.folder)!r})), Path({str(scans)!r}), Path({str(out)!r}),
                 network=network, batch_size=4, stop=stop,
                 on_progress=lambda p: p.slices and print("going", flush=True))
    return 0
run_program(main)
"""
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    arguments = [sys.executable, "-c", program]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "going\n"
        workers = workers_of(process.pid)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        assert time.monotonic() - started < 1.5
    assert process.returncode == 130
    assert not psutil.wait_procs(workers, timeout=5)[1]
    assert not (out / "slices.csv").exists()
    subprocess.run(
        [sys.executable, "-c", program.replace("=2.0", "=0.0")], check=True, capture_output=True, env=environment
    )
    assert len(rows(out)) == 40


def test_help_needs_no_pipeline() -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom lits_deploy.cli.app import app\n"
        "result = CliRunner().invoke(app, ['classify', '--help'])\nassert result.exit_code == 0, result.output\n"
        "assert not {'numpy', 'onnxruntime', 'sqlite3', 'PIL', 'pyarrow'} & set(sys.modules)\nprint(result.output)"
    )
    text = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    for option in ("--device", "--batch-size", "--workers", "--no-recursive", "--format", "--overwrite", "--ledger"):
        assert option in text


def test_a_terminal_without_unicode_gets_its_summary(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    plain = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = command(bundle.folder, scans, "--out", tmp_path / "out")
    done = subprocess.run(arguments, capture_output=True, env=plain, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"? " + os.fsencode(tmp_path / "out/slices.csv") in done.stdout
