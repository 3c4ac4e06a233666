"""Who may read what is written of patients: its owner alone, from the first moment, whatever the umask."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from every_output import make_inputs, write_everything
from folder_runs import classify
from lits_deploy import private
from lits_deploy.bundle import Bundle
from lits_deploy.cli.app import app
from lits_deploy.files import write_text
from lits_deploy.ledger import FILE_NAME, Ledger
from lits_deploy.pipeline import autotune
from lits_deploy.pipeline.output import LOCK
from lits_deploy.pseudonyms import SALT_FILE
from lits_deploy.report.redraw import redraw
from lits_sources import noise_patient, write_lits
from tiny_bundle import make_tiny_bundle
from tiny_data import make_tiny_data

LIBRARY = Path(__file__).with_name("created.c")
OURS_ALONE = (SALT_FILE, LOCK, ".lits-deploy.watch.lock")
EXPECTED = {
    FILE_NAME,
    SALT_FILE,
    LOCK,
    "run.json",
    "report.html",
    ".lits-deploy",
    *(f"{table}.{kind}" for table in ("slices", "studies", "volumes", "masks") for kind in ("csv", "parquet", "jsonl")),
}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def assert_modes(folder: Path, *, group: bool = False) -> set[str]:
    """Every file and folder below a folder, and it itself, has the mode it should; the files' names."""
    access, names = private.Access(group=group), set[str]()
    for path in [folder, *folder.rglob("*")]:
        expected = access.folder if path.is_dir() else 0o600 if path.name in OURS_ALONE else access.file
        assert (str(path.relative_to(folder)), oct(mode_of(path))) == (str(path.relative_to(folder)), oct(expected))
        names |= {path.name} if path.is_file() else set()
    return names


@pytest.mark.parametrize(("mask", "group"), [(0o000, False), (0o077, True)])
def test_all_that_is_written_of_patients_is_its_owners(tmp_path: Path, mask: int, group: bool) -> None:
    inputs = make_inputs(tmp_path)
    with umask(mask):
        outs = write_everything(tmp_path, *inputs, group_readable=group or None)
    names = set().union(*(assert_modes(out, group=group) for out in outs))
    assert names >= EXPECTED
    assert any(name.endswith(".png") for name in names)
    assert any(name.endswith(".nii.gz") for name in names)


def test_no_file_is_ever_made_with_a_mode_that_others_may_read(tmp_path: Path) -> None:
    """With the umask at 0, what is asked for is what a file is made with: temporary ones, SQLite's, pyarrow's."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler: a library is preloaded that sees files made")
    library, log, folder = tmp_path / "created.so", tmp_path / "log", tmp_path / "world"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(LIBRARY), "-ldl"], check=True)
    support = Path(__file__).parents[1] / "support"
    environment = os.environ | {"LD_PRELOAD": str(library), "CREATED_LOG": str(log), "PYTHONPATH": str(support)}
    done = subprocess.run(
        [sys.executable, str(support / "every_output.py"), str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    made = [line.split(" ", 1) for line in log.read_text(encoding="utf-8").splitlines()]
    ours = [(mode, Path(path)) for mode, path in made if path.startswith(f"{folder}/out-")]
    assert [(mode, path) for mode, path in ours if int(mode, 8) & 0o077] == []
    names = {path.name for _, path in ours}
    assert names >= {FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", LOCK}
    temporary = {name.rpartition(".")[0].rpartition(".")[0] for name in names if name.endswith(".tmp")}
    assert temporary >= {
        ".slices.csv",
        ".slices.parquet",
        ".slices.jsonl",
        ".run.json",
        ".report.html",
        f".{SALT_FILE}",
    }


def bundle_and_scans(folder: Path) -> tuple[Bundle, Path]:
    bundle, _ = make_inputs(folder)
    return bundle, folder / "pictures"


def test_the_group_may_read_until_it_is_told_otherwise(tmp_path: Path) -> None:
    bundle, scans = bundle_and_scans(tmp_path)
    out = tmp_path / "new" / "out"
    with umask(0):
        classify(bundle, scans, out, salt=None, workers=1)
        assert_modes(tmp_path / "new")
        redraw(out, group_readable=True)
        assert_modes(out, group=True)
        classify(bundle, scans, out, salt=None, workers=1)
        redraw(out, formats=("jsonl",))
        assert_modes(out, group=True)
        assert mode_of(tmp_path / "new") == 0o700
        (out / "masks" / "png").mkdir(parents=True)
        for name in (".lits-deploy", "png/a.png"):
            (out / "masks" / name).touch()
        classify(bundle, scans, out, salt=None, workers=1, group_readable=False)
        assert_modes(out)


def test_a_folder_that_was_there_keeps_its_mode_and_the_run_says_so(tmp_path: Path) -> None:
    bundle, scans = bundle_and_scans(tmp_path)
    out = tmp_path / "out"
    with umask(0):
        out.mkdir(mode=0o755)
        summary = classify(bundle, scans, out, salt=None, workers=1)
    assert mode_of(out) == 0o755
    assert any("chmod 700" in warning for warning in summary.warnings)
    out.chmod(0o700)
    assert_modes(out)
    assert not classify(bundle, scans, out, salt=None, workers=1).warnings


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    bundle, scans = bundle_and_scans(tmp_path)
    out = tmp_path / "out"
    classify(bundle, scans, out, salt=None, workers=1)
    for path in out.iterdir():
        path.chmod(0o666)
    classify(bundle, scans, out, salt=None, workers=1)
    assert_modes(out)


def test_the_files_that_sqlite_keeps_beside_a_ledger_are_private_while_it_is_open(tmp_path: Path) -> None:
    with umask(0), Ledger(tmp_path) as ledger:
        ledger.note("a", "b")
        assert {path.name: mode_of(path) for path in tmp_path.iterdir()} == {
            f"{FILE_NAME}{suffix}": 0o600 for suffix in ("", "-wal", "-shm")
        }


def test_what_tuning_remembers_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with umask(0):
        assert autotune.remember({"bundle": "b"}, autotune.Setting(batch=1, threads=1, slices_per_s=1.0), [])
    assert len(assert_modes(tmp_path / "cache")) == 1


def test_other_files_follow_the_umask(tmp_path: Path) -> None:
    with umask(0o022):
        write_text(tmp_path / "new" / "card", "")
    assert (mode_of(tmp_path / "new"), mode_of(tmp_path / "new" / "card")) == (0o755, 0o644)


def test_commands_that_hold_data_of_patients_write_for_their_owner(tmp_path: Path) -> None:
    raw = write_lits(tmp_path / "raw", [noise_patient(number, slices=6) for number in range(3)])
    make_tiny_bundle(tmp_path / "bundle")
    make_tiny_data(tmp_path / "tiny", slices=2, patients=(1, 1, 2))
    new = tmp_path / "new"
    commands = {
        "data prepare": [raw, new / "data", "--layout", "lits", "--window", "-40", "160", "--workers", "2"],
        "data check": [new / "data", "--montage", new / "montages" / "sheet.png", "--workers", "1"],
        "evaluate": [tmp_path / "bundle", "--data", tmp_path / "tiny", "--out", new / "evaluated"],
    }
    with umask(0):
        (new / "montages").mkdir(parents=True, mode=0o700)
        new.chmod(0o700)
        for name, arguments in commands.items():
            done = CliRunner().invoke(app, [*name.split(), *map(str, arguments)], catch_exceptions=False)
            assert done.exit_code in (0, 1), done.output
        assert os.umask(0) == 0  # a command puts it back
    names = assert_modes(new)
    assert names >= {"dataset.json", "sheet.png", "evaluation.json", "patients.csv"}
    assert sum(name.startswith("volume-") for name in names) > 10


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux whether a process can be dumped")
@pytest.mark.parametrize("command", ["scan", "classify"])
def test_a_command_that_holds_scans_leaves_no_core(tmp_path: Path, command: str) -> None:
    """Neither by the limit nor through a pipe, for which the limit does not count."""
    code = (
        "import ctypes, resource, sys\n"
        "from lits_deploy.cli.app import app\n"
        "try:\n    app(sys.argv[1:])\nexcept BaseException as error:\n    pass\n"
        "print('core', resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    arguments = {"scan": [str(tmp_path)], "classify": [str(tmp_path / "bundle"), str(tmp_path)]}[command]
    done = subprocess.run(
        [sys.executable, "-c", code, command, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        preexec_fn=_cores_on,
    )
    assert done.stdout.splitlines()[-1] == "core 0 0", done.stdout + done.stderr


def _cores_on() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
