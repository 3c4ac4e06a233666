"""The tool that plants faults: it tells what survives, is out of date or breaks, and leaves the checkout alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import script

ROOT = Path(__file__).parent.parent


mutants = script("mutants")

GUARD = """
def allowed(value):
    return value < 5
"""
TESTS = """
import subprocess, sys, pytest
from lits_deploy.guard import allowed

def test_in_a_process_that_heeds_no_environment():
    code = "from lits_deploy.guard import allowed; print(allowed(5))"
    said = subprocess.run([sys.executable, "-I", "-c", code], cwd="/", capture_output=True, text=True).stdout
    assert said == "False\\n"

def test_that_cannot_fail():
    allowed(1)

def test_that_skips():
    pytest.skip("not here")

@pytest.fixture
def one():
    assert allowed(4)

def test_behind_a_fixture(one):
    pass
"""
ENTRIES = {
    "killed": ("value < 5", "value < 6", "test_in_a_process_that_heeds_no_environment"),
    "survives": ("value < 5", "value < 6", "test_that_cannot_fail"),
    "skips": ("value < 5", "value < 6", "test_that_skips"),
    "outdated": ("value < 7", "value < 6", "test_that_cannot_fail"),
    "twice": ("value", "other", "test_that_cannot_fail"),
    "no such test": ("value < 5", "value < 6", "test_of_nothing"),
    "no Python": ("value < 5", "value <", "test_that_cannot_fail"),
    "breaks the import": ("def allowed", "def refused", "test_that_cannot_fail"),
    "breaks a fixture": ("value < 5", "value < 4", "test_behind_a_fixture"),
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, text in {
        "lits_deploy/__init__.py": "",
        "lits_deploy/guard.py": GUARD,
        "tests/test_guard.py": TESTS,
        "tests/mutants/table.toml": "".join(
            f'[[mutant]]\nname = "{name}"\nfile = "lits_deploy/guard.py"\nold = "{old}"\nnew = "{new}"\n'
            f'tests = ["tests/test_guard.py::{test}"]\n'
            for name, (old, new, test) in ENTRIES.items()
        ),
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def test_each_mutant_is_reported_for_what_it_is_and_the_checkout_stays(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mutants.main(["--jobs", "1"], root=checkout) == 1
    said = capsys.readouterr().out
    states = {name: line.split()[0] for line in said.splitlines() for name in ENTRIES if f": {name}" in line}
    assert states == {
        "killed": "killed",
        "survives": "SURVIVED",
        "skips": "skipped",
        "outdated": "STALE",
        "twice": "STALE",
        "no such test": "STALE",
        "no Python": "BROKEN",
        "breaks the import": "BROKEN",
        "breaks a fixture": "BROKEN",
    }
    assert "9 mutants" in said
    assert (checkout / "lits_deploy/guard.py").read_text() == GUARD
    assert not [*checkout.rglob("__pycache__"), *checkout.rglob(".venv")]


def test_killed_ones_alone_are_a_success_and_tests_that_fail_anyway_are_reported(checkout: Path) -> None:
    assert mutants.main(["killed", "skips", "--jobs", "1"], root=checkout) == 0
    (checkout / "lits_deploy/guard.py").write_text(GUARD.replace("value < 5", "1; value < 5"))
    with pytest.raises(SystemExit, match=r"fail without any fault: .*test_in_a_process"):
        mutants.main(["killed", "--jobs", "1"], root=checkout)


def test_the_entries_of_this_repository_fit_its_text() -> None:
    entries = mutants.read_tables(ROOT)
    assert {entry.name: why for entry in entries if (why := mutants.problem(ROOT, entry)) is not None} == {}
    assert len({entry.name for entry in entries}) == len(entries)
