"""Nothing of a patient in anything that is written or said, unless the user asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lits_deploy.bundle import Bundle
from lits_deploy.pseudonyms import SALT_FILE
from planted import BASE, BIRTHDAY, DIGITS, HEADER, NAMES, everything, found_in, planted_dicom, planted_scans, read_back
from tiny_bundle import make_tiny_bundle

SECRET = (HEADER, DIGITS, BIRTHDAY, BASE)
MAY_HOLD_PATHS = ("ledger.sqlite", "slices.", "studies.", "report.html")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"), size=64, crop=56, window_hu=(-160.0, 240.0))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_scans(tmp_path_factory.mktemp("scans"))


def lits_deploy(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    elsewhere = {"HOME": str(cwd), "TMPDIR": str(cwd), "XDG_CACHE_HOME": str(cwd)}
    command = [sys.executable, "-W", "error", "-m", "lits_deploy", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, env=os.environ | elsewhere)


def assert_private(out: Path, said: bytes, *, paths_anywhere: bool = False, paths_nowhere: bool = False) -> None:
    """Neither files nor output hold a secret; paths stand in results and ledger only, or nowhere."""
    (out.parent / "said").write_bytes(said)
    files = everything(out)
    assert files
    for path in [*files, out.parent / "said"]:
        allowed = not paths_nowhere and (paths_anywhere or path.name.startswith(MAY_HOLD_PATHS))
        secrets = SECRET if allowed else (*SECRET, NAMES)
        assert found_in(path, secrets) == set(), path.relative_to(out.parent)


def test_planting_leaves_files_readable_and_is_found_where_it_is(scans: Path) -> None:
    assert read_back(planted_dicom(1)).shape == (64, 64)
    files = [path for path in everything(scans) if path.stat().st_size]
    for path in files:
        assert NAMES in found_in(path, (NAMES,))
        if path.suffix not in (".gz", ".zip") or "cut" not in path.name:
            assert found_in(path, (HEADER, NAMES)) >= {NAMES}
    first = next(path for path in files if path.name == f"{NAMES}0000")
    assert found_in(first, SECRET) == {HEADER, DIGITS, BIRTHDAY}
    assert first.read_bytes().count(HEADER.encode()) > 500


@pytest.mark.parametrize("pseudonymous", [False, True])
def test_classify_writes_and_says_nothing_of_a_patient(
    bundle: Bundle, scans: Path, tmp_path: Path, pseudonymous: bool
) -> None:
    more = ["--pseudonymous"] if pseudonymous else []
    out = tmp_path / "out"
    done = lits_deploy(
        "classify", bundle.folder, scans, "--out", out, "--format", "csv,parquet,jsonl", *more, cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr.decode()
    table = (out / "slices.csv").read_text(encoding="utf-8")
    assert table.count("\n") > 15
    assert (NAMES in table) != pseudonymous
    assert_private(out, done.stdout + done.stderr, paths_nowhere=pseudonymous)


def test_a_pseudonymous_run_goes_on_where_it_was(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out, command = tmp_path / "out", ["classify", bundle.folder, scans, "--pseudonymous", "--salt", "s"]
    lits_deploy(*command, "--out", out, cwd=tmp_path)
    before = (out / "slices.csv").read_bytes()
    again = lits_deploy(*command, "--out", out, cwd=tmp_path)
    assert b"0 slices in" in again.stdout
    assert (out / "slices.csv").read_bytes() == before


def test_identify_names_patients_and_only_then(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = lits_deploy("classify", bundle.folder, scans, "--out", out, "--identify", cwd=tmp_path)
    assert found_in(out / "studies.csv", (HEADER, DIGITS)) == {HEADER, DIGITS}
    assert found_in(out / "slices.csv", (HEADER,)) == set()
    (tmp_path / "said").write_bytes(done.stdout + done.stderr)
    assert found_in(tmp_path / "said", (*SECRET, NAMES)) == set()


def test_errors_do_not_name_what_they_stumbled_over(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    empty = tmp_path / f"{BASE} empty"
    empty.mkdir()
    (empty / f"{NAMES}.txt").write_text(HEADER)
    calls = [
        # Paths that were typed are named in the error, what lies below never is; hidden ones are not named at all.
        ("classify", bundle.folder, empty, "--out", tmp_path / "1", "--pseudonymous"),
        ("classify", bundle.folder, tmp_path / f"{BASE} not there", "--out", tmp_path / "2", "--pseudonymous"),
        ("classify", bundle.folder, scans, "--out", tmp_path / "3", "--device", "cuda"),
    ]
    for call in calls:
        done = lits_deploy(*call, cwd=tmp_path)
        assert done.returncode == 2
        (tmp_path / "said").write_bytes(done.stdout + done.stderr)
        assert found_in(tmp_path / "said", (*SECRET, NAMES)) == set(), done.stderr.decode()


def test_logs_and_metrics_hold_nothing_of_a_patient(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    logged = ["--verbose", "--log-format", "json", "--log-file", tmp_path / "log", "--metrics", tmp_path / "metrics"]
    done = lits_deploy("classify", bundle.folder, scans, "--out", tmp_path / "out", *logged, cwd=tmp_path)
    assert done.returncode == 1
    (tmp_path / "said").write_bytes(done.stderr)
    missing = tmp_path / f"{BASE} not there" / NAMES
    failed = lits_deploy("classify", bundle.folder, missing, "--out", tmp_path / "2", *logged, cwd=tmp_path)
    assert failed.returncode == 2
    (tmp_path / "failed").write_bytes(failed.stderr)
    assert b"There is no {what}." in failed.stderr
    for name in ("log", "metrics", "said", "failed"):
        assert (tmp_path / name).stat().st_size
        assert found_in(tmp_path / name, (*SECRET, NAMES)) == set(), name


def test_salts_make_series_of_two_runs_strangers(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    def series(out: Path, *more: str) -> set[str]:
        lits_deploy("classify", bundle.folder, scans, "--out", out, *more, cwd=tmp_path)
        lines = (out / "studies.csv").read_text(encoding="utf-8").splitlines()[1:]
        return {line.split(",")[2] for line in lines} - {""}

    first, second = series(tmp_path / "a"), series(tmp_path / "b")
    assert first
    assert not first & second
    assert series(tmp_path / "c", "--salt", "x") == series(tmp_path / "d", "--salt", "x")


@pytest.mark.parametrize("given", [True, False])
def test_the_salt_is_in_no_file_but_its_own(bundle: Bundle, scans: Path, tmp_path: Path, given: bool) -> None:
    out = tmp_path / "out"
    more = ["--salt", "salt of this test"] if given else []
    lits_deploy("classify", bundle.folder, scans, "--out", out, *more, cwd=tmp_path)
    salt = b"salt of this test" if given else (out / SALT_FILE).read_bytes().strip()
    assert (out / "run.json").exists()
    holders = [
        path.name for path in everything(out) if salt in path.read_bytes() or salt.hex().encode() in path.read_bytes()
    ]
    assert holders == ([] if given else [SALT_FILE])


def test_a_salt_file_keeps_pseudonyms_from_one_out_to_the_next(bundle: Bundle, scans: Path, tmp_path: Path) -> None:
    """As docs/privacy.md says for a new bundle; and nothing but the hashes tells of the file."""

    def run(out: str, *more: object) -> tuple[bytes, str]:
        done = lits_deploy(
            "classify", bundle.folder, scans, "--out", tmp_path / out, "--pseudonymous", *more, cwd=tmp_path
        )
        assert done.returncode == 1, done.stderr.decode()
        return (tmp_path / out / "slices.csv").read_bytes(), (tmp_path / out / "run.json").read_text(encoding="utf-8")

    first, _ = run("a")
    salt = tmp_path / "salt of the ward"
    (tmp_path / "a" / SALT_FILE).rename(salt)
    again, record = run("b", "--salt-file", salt)
    assert again == first
    assert not (tmp_path / "b" / SALT_FILE).exists()
    assert "salt of the ward" not in record
    assert salt.read_text().strip() not in record
    salt.chmod(0o644)
    refused = lits_deploy("classify", bundle.folder, scans, "--out", tmp_path / "c", "--salt-file", salt, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.decode().count("\n") == 1
    assert f"Fix: chmod 600 {salt}" in refused.stderr.decode()
    assert not (tmp_path / "c").exists()
