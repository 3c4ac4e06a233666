"""Ctrl-C, SIGTERM and SIGHUP over the whole life of a run: the code of the signal, and the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from folder_runs import SIZE, workers_of
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SLICES = 120
LONG = 60.0  # seconds until a test gives up
NOT_STARTED = ("Fatal Python error: init_", "Could not import runpy module")
"""What Python says, with exit code 1, when Ctrl-C comes into its own start, before any line of ours."""

TABLES = ("slices.csv", "studies.csv")


class Runs:
    """A bundle, scans, and what an undisturbed run makes of them."""

    def __init__(self, folder: Path) -> None:
        self.bundle = make_tiny_bundle(folder / "bundle", size=SIZE, crop=56).folder
        self.scans = folder_of_slices(folder / "scans", SLICES, size=SIZE)
        self.whole = folder / "whole"
        started = time.monotonic()
        assert self.run(self.whole) == 0
        self.wall_s = time.monotonic() - started

    def command(self, out: Path, *more: str) -> list[str]:
        args = ["classify", str(self.bundle), str(self.scans), "--out", str(out), "--salt", "one", "--batch-size", "2"]
        return [sys.executable, "-m", "lits_deploy", *args, *more]

    def run(self, out: Path) -> int:
        return subprocess.run(self.command(out), capture_output=True).returncode

    def ends_well(self, out: Path) -> None:
        """The same command goes on, to the tables of an undisturbed run."""
        assert self.run(out) == 0
        self.is_whole(out)

    def is_whole(self, out: Path) -> None:
        """The tables are those of an undisturbed run."""
        for name in TABLES:
            assert (out / name).read_bytes() == (self.whole / name).read_bytes()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("signals"))


def signalled(command: list[str], after_s: float, number: signal.Signals, cwd: Path) -> int:
    """The exit code of a command that gets a signal then; nothing is left of it but that."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=cwd) as process:
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            workers = workers_of(process.pid)
            process.send_signal(number)
        else:
            assert process.returncode == 0, process.communicate()[1]
            return 128 + number  # a fast machine: it was done before
        said = process.communicate(timeout=LONG)[1]
    if process.returncode == 1 and number == signal.SIGINT and said.startswith(NOT_STARTED):
        return 128 + number
    # Python's own start prints one; from the first line of `main` on there is none.
    assert "Traceback" not in said or "in main" not in said, said
    assert "terminate called" not in said
    assert not list(cwd.glob("core*"))
    assert not psutil.wait_procs(workers, timeout=5)[1]
    # Before the first line of ours the system itself ends it: a shell reports that by the same code.
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


@pytest.mark.parametrize("moments", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_each_signal_at_any_moment(runs: Runs, tmp_path: Path, moments: int) -> None:
    for step in range(moments):
        out = tmp_path / f"out{step}"
        for number in SIGNALS:  # one after the other on the same folder: each goes on where the last one was
            code = signalled(runs.command(out), runs.wall_s * (step + 0.5) / moments, number, tmp_path)
            if code == 0 and step >= moments // 2:  # Python was taking leave already: there was nothing left to stop
                runs.is_whole(out)
            else:
                assert code == 128 + number
        runs.ends_well(out)


def test_a_signal_does_not_wait_for_a_network_that_loads(runs: Runs, tmp_path: Path) -> None:
    """Python's own end would wait, or pull itself from under the loading thread: "terminate called", and a core."""
    program = f"""
import sys, time
import lits_deploy.pipeline.network as pipeline
def loading(*_, **__):
    print("loading", flush=True)
    time.sleep({LONG})
pipeline.open_runtime = loading
sys.argv = {["lits-deploy", *runs.command(tmp_path / "out")[3:]]!r}
from lits_deploy.__main__ import main
main()
"""
    for number in SIGNALS:
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "loading\n"
            process.send_signal(number)
            try:
                assert process.wait(LONG / 4) == 128 + number
            finally:
                process.kill()  # or a test that fails would wait for the sleep
        assert not (tmp_path / "out").exists()


def test_an_import_is_not_broken_into(tmp_path: Path) -> None:
    """PyTorch's aborts where an exception is raised in its midst."""
    (tmp_path / "library.py").write_text(
        "import signal\ntry:\n    signal.raise_signal(signal.SIGTERM)\nexcept BaseException:\n    print('broken')\n"
    )
    program = (
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom lits_deploy.program import run_program\n"
        "def main():\n    import library\n    return 0\nrun_program(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "", "stopped\n")


def test_what_nohup_ignores_stays_ignored(runs: Runs, tmp_path: Path) -> None:
    program = """
import signal
from lits_deploy import signals
from lits_deploy.pipeline.stop import stop_on_signals
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
signals.listen()
with stop_on_signals() as stop:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.raise_signal(number)
    assert not stop.requested
    signal.raise_signal(signal.SIGTERM)
    assert stop.requested
signals.end_on_any()
signal.raise_signal(signal.SIGHUP)
print("still here")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "still here\n"), done.stderr


@pytest.mark.parametrize(
    ("command", "number"), [("verify", signal.SIGINT), ("benchmark", signal.SIGTERM), ("doctor", signal.SIGHUP)]
)
def test_other_commands_end_with_the_code_too(runs: Runs, tmp_path: Path, command: str, number: signal.Signals) -> None:
    more = {"verify": [runs.bundle], "benchmark": [runs.bundle, "--out", tmp_path / "measured"], "doctor": []}[command]
    arguments = [sys.executable, "-m", "lits_deploy", command, *map(str, more)]
    assert signalled(arguments, runs.wall_s / 4, number, tmp_path) == 128 + number


def test_before_our_handlers_are_there_a_signal_ends_it_without_a_traceback(tmp_path: Path) -> None:
    program = (
        "import signal, sys\nimport lits_deploy.__main__ as program\n"
        "program._drop_current_folder = lambda: signal.raise_signal(signal.SIGINT)\nprogram.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
