"""`lits-deploy doctor` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lits_deploy.cli.app import app
from lits_deploy.cli.doctor import lines
from lits_deploy.doctor import Check, DoctorReport

runner = CliRunner()
WORKS = Check(section="runtimes", name="onnxruntime on cpu", state="ok", found="1.2 gives the right answer", works=True)
MISSING = Check(
    section="runtimes",
    name="openvino on cpu",
    state="missing",
    found="not installed",
    fix="pip install 'lits-deploy[openvino]'",
)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """What doctor finds; and the folder it was asked about is noted as a row."""
    found = [WORKS, MISSING]

    def examine(out: Path) -> DoctorReport:
        return DoctorReport((*found, Check(section="folders", name="output", state="ok", found=str(out))))

    monkeypatch.setattr("lits_deploy.doctor.examine", examine)
    return found


def test_page_with_states_and_fixes(rows: list[Check]) -> None:
    done = runner.invoke(app, ["doctor", "--out", "results"])
    assert done.exit_code == 0
    assert "  ok         onnxruntime on cpu " in done.output
    assert "  missing    openvino on cpu " in done.output
    assert "fix: pip install 'lits-deploy[openvino]'" in done.output
    assert "results" in done.output
    assert done.output.rstrip().endswith("Works: onnxruntime on cpu (0 broken, 0 warnings, 1 missing).")


def test_json(rows: list[Check]) -> None:
    done = runner.invoke(app, ["doctor", "--json"])
    answer = json.loads(done.output)
    assert answer["working"] == ["onnxruntime on cpu"]
    assert {tuple(sorted(check)) for check in answer["checks"]} == {
        ("details", "fix", "found", "name", "section", "state", "works")
    }


def test_exit_1_where_no_runtime_works(rows: list[Check]) -> None:
    rows.remove(WORKS)
    done = runner.invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "No runtime works here" in done.output
    assert runner.invoke(app, ["doctor", "--json"]).exit_code == 1


def test_long_rows_fold_and_commands_do_not() -> None:
    command = "pip uninstall --yes onnxruntime onnxruntime-gpu && pip install 'lits-deploy[gpu]' " + "x" * 60
    row = Check(section="runtimes", name="a name", state="broken", found="word " * 60, fix=command)
    *folded, fix = lines(row, 80)
    assert max(map(len, folded)) <= 80
    assert fix.strip() == f"fix: {command}"
