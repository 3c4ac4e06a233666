"""Every way in which a program of ours ends, and its exit code: a crash is never taken for anything else."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lits_deploy import exits
from lits_deploy.cli.app import COMMANDS, app
from lits_deploy.errors import DeviceOutOfMemory, MissingExtra
from lits_deploy.program import outcome

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def as_in_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output that is no terminal is buffered, unless whoever runs the tests asked for something else."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def ends(code: str, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    """Run the program's `main` after some lines that plant a fault."""
    program = f"import sys\nsys.argv[1:] = {list(arguments)!r}\n{code}\nfrom lits_deploy.__main__ import main\nmain()\n"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, **more)  # type: ignore[call-overload, no-any-return]


def raising(statement: str) -> str:
    """Lines that make `lits-deploy models` run a statement in place of its work."""
    return f"""
import typer, types, sys, threading
fake = types.ModuleType("train.cli.models")
fake.app = typer.Typer()
@fake.app.command()
def models() -> None:
    {statement}
sys.modules["train.cli.models"] = fake
"""


@pytest.mark.parametrize(
    ("statement", "code", "line"),
    [
        ("1 / 0", exits.BUG, "ZeroDivisionError"),
        ("raise SystemExit(1)", exits.BUG, "SystemExit: 1"),
        ("raise SystemExit('text')", exits.BUG, "SystemExit: text"),
        ("raise EOFError", exits.BUG, "EOFError"),
        ("raise typer.Abort", exits.USER_ERROR, ""),
        ("import nothing_of_that_name", exits.BUG, "nothing_of_that_name"),
        ("thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()", exits.BUG, "ZeroDivision"),
        ("raise BrokenPipeError", exits.BUG, "BrokenPipeError"),  # of a pipe that is not standard output
        ("raise KeyboardInterrupt", 130, "stopped"),
    ],
)
def test_each_end_has_its_code(statement: str, code: int, line: str) -> None:
    done = ends(raising(statement), "models")
    assert done.returncode == code, done.stderr
    assert line in done.stderr
    assert ("Traceback" in done.stderr) == (code == exits.BUG)


@pytest.mark.parametrize(
    ("statement", "code", "line"),
    [
        ("raise OSError(errno.EMFILE, 'x')", exits.USER_ERROR, "error: Too many files are open"),
        ("raise OSError(errno.ENOSPC, 'x', '/a\\x1b/b')", exits.USER_ERROR, "error: The disk is full. Fix"),
        ("raise MemoryError", exits.USER_ERROR, "error: There is no memory left"),
        ("raise MissingExtra('X', 'x') from ImportError('std::bad_alloc')", exits.USER_ERROR, "There is no memory"),
        ('raise RuntimeError("can\'t start new thread")', exits.USER_ERROR, "error: No further thread or process"),
        (
            "raise DeviceOutOfMemory('cudaMalloc: requested 314572800, available 209715200 bytes')",
            exits.USER_ERROR,
            "(300 MiB more did not fit into 200 MiB: 100 MiB missing). Fix: other programs off the device, a smaller",
        ),
        (
            "raise RuntimeError('CUDA out of memory. Tried to allocate 1.5 GiB. GPU 0 has a capacity of 7 GiB of which "
            "10.5 MiB is free.')",
            exits.USER_ERROR,
            "(1,536 MiB more did not fit into 10 MiB: 1,526 MiB missing)",
        ),
        ("raise RuntimeError('CUDA error: out of memory')", exits.USER_ERROR, "left for this command (CUDA error"),
        ("raise RuntimeError('CUDA error: an illegal memory access was encountered')", exits.BUG, "illegal memory"),
        ("raise sqlite3.OperationalError('database is locked')", exits.USER_ERROR, "error: The ledger is locked"),
        (
            "raise sqlite3.DatabaseError('database disk image is malformed')",
            exits.USER_ERROR,
            "error: The ledger is d",
        ),
        ("raise sqlite3.OperationalError('attempt to write a readonly database')", exits.USER_ERROR, "is read-only"),
        ("raise sqlite3.OperationalError('database or disk is full')", exits.USER_ERROR, "error: No room for the"),
        ("raise sqlite3.OperationalError('near \"x\": syntax error')", exits.BUG, "syntax error"),
        ("raise sqlite3.ProgrammingError('Cannot operate on a closed database.')", exits.BUG, "closed database"),
    ],
)
def test_what_the_machine_runs_out_of_is_told_apart(
    statement: str, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> int:
        known = {"errno": errno, "sqlite3": sqlite3, "MissingExtra": MissingExtra}
        exec(statement, {**known, "DeviceOutOfMemory": DeviceOutOfMemory})
        return exits.DONE

    assert outcome(main) == code
    said = capsys.readouterr().err
    assert line in said
    assert ("Traceback" in said) == (code == exits.BUG)
    if code == exits.USER_ERROR:
        assert len(said.splitlines()) == 1
        assert "Fix: " in said


def test_usage_and_a_module_that_cannot_be_imported() -> None:
    assert ends("", "no-such-command").returncode == exits.USER_ERROR
    assert ends("", "verify").returncode == exits.USER_ERROR
    assert ends("sys.modules['train.cli.models'] = None", "models").returncode == exits.BUG
    assert ends("sys.modules['lits_deploy.cli.app'] = None", "models").returncode == exits.BUG


@pytest.mark.parametrize("module", ["benchmarks.gpu_check", "benchmarks.peers", "train"])
def test_other_programs_end_alike(module: str, tmp_path: Path) -> None:
    """A bug within `main` of each: the module that it calls first fails."""
    site = tmp_path / "sitecustomize.py"
    site.write_text("import argparse, sys\nargparse.ArgumentParser.parse_args = lambda *_: 1 / 0\n")
    if module == "train":
        site.write_text("import sys\nsys.modules['train.cli.train'] = None\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-m", module, "x"], env=environment, capture_output=True, text=True)
    assert done.returncode == exits.BUG, done.stderr
    assert "Traceback" in done.stderr


def test_a_reader_that_has_gone_is_no_fault_of_ours() -> None:
    read, write = os.pipe()
    os.close(read)
    for arguments in (["models"], ["--help"], ["models", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "lits_deploy", *arguments], stdout=write, stderr=subprocess.PIPE, text=True
        )
        assert (done.returncode, done.stderr) == (exits.BROKEN_PIPE, "")
    os.close(write)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_on_a_full_disk_is_the_users_error_and_a_closed_one_is_none() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lits_deploy", "models"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == exits.USER_ERROR
    assert done.stderr == "error: The disk is full. Fix: make room, and run the same command again\n"
    unflushed = f"{raising('print(1)')}\nfrom lits_deploy.__main__ import main\nmain()"
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", f"import sys\nsys.argv[1:] = ['models']\n{unflushed}"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr[:25]) == (exits.USER_ERROR, "error: The disk is full. ")
    closed = f"exec {sys.executable} -m lits_deploy models >&-"
    assert subprocess.run(["sh", "-c", closed], capture_output=True).returncode == exits.DONE


def test_too_few_file_descriptors_are_one_line_wherever_they_end(tmp_path: Path) -> None:
    """From what Python needs to start on to what a run takes."""
    from folder_runs import SIZE
    from pictures import folder_of_slices
    from tiny_bundle import make_tiny_bundle

    bundle = make_tiny_bundle(tmp_path / "bundle", size=SIZE, crop=56).folder
    scans = folder_of_slices(tmp_path / "scans", 4, size=SIZE)
    codes = set()
    for limit in (8, 12, 18, 200):
        run = f"-m lits_deploy classify {bundle} {scans} --out {tmp_path}/{limit}"
        call = f"ulimit -n {limit}; exec {sys.executable} {run}"
        done = subprocess.run(["sh", "-c", call], capture_output=True, text=True)
        codes.add(done.returncode)
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert done.returncode == exits.USER_ERROR
            assert "error: Too many files are open" in done.stderr
    assert codes == {exits.DONE, exits.USER_ERROR}


@pytest.mark.parametrize("command", [*COMMANDS])
def test_every_commands_help_names_its_codes(command: str) -> None:
    text = " ".join(CliRunner().invoke(app, [command, "--help"]).output.split())
    if "Commands:" in text:
        name = re.search(r"Commands: (\w+)", text)
        assert name is not None
        text = " ".join(CliRunner().invoke(app, [command, name[1], "--help"]).output.split())
    assert "2 an error you can fix, 70 a bug, 129, 130 or 143 stopped by a signal." in text


def test_codes_are_told_apart_and_stand_in_the_docs() -> None:
    codes = {name: value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert len(set(codes.values())) == len(codes)
    crashes = {134, 139, 1 + 0x7F}  # abort, segmentation fault, not found
    assert not crashes & set(codes.values())
    (table,) = re.findall(r"## Exit codes\n(.*?)\n## ", (ROOT / "docs" / "edge.md").read_text(), re.DOTALL)
    listed = re.findall(r"\b\d+\b", " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|")))
    assert {int(code) for code in listed} == {0, 1, 2, 3, 4, 70, 129, 130, 141, 143}


@pytest.mark.parametrize("module", ["lits_deploy", "train", "benchmarks.peers"])
@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_another_system_than_linux_is_refused_in_one_line(tmp_path: Path, platform: str, module: str) -> None:
    lacking = "fcntl", "resource", "select"
    planted = f"import signal, sys\nsys.platform = {platform!r}\ndel signal.SIGHUP\n"
    (tmp_path / "sitecustomize.py").write_text(planted + "".join(f"sys.modules[{name!r}] = None\n" for name in lacking))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (exits.USER_ERROR, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert f"Linux only; this is {platform}. Fix: run it in WSL2 or in a Linux container" in line
