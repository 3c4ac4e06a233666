"""Options from a file and from the environment; values in help; completion."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lits_deploy.cli.app import app, run
from lits_deploy.errors import UserError
from pictures import folder_of_slices

runner = CliRunner()


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return folder_of_slices(tmp_path / "scans", 2, size=256)


def config(folder: Path, text: str) -> str:
    path = folder / "lits.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def scanned(*before: str, scans: Path, **environment: str) -> str:
    result = runner.invoke(app, [*before, "scan", str(scans)], env=environment)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_file_sets_options_as_they_are_spelled(tmp_path: Path, scans: Path) -> None:
    asked = config(tmp_path, "[scan]\njson = true\ntime-limit = 5.5\nworkers = 1\n\n[classify]\nbatch-size = 3\n")
    assert json.loads(scanned("--config", asked, scans=scans))["slices"] == 2
    assert json.loads(scanned(scans=scans, LITS_DEPLOY_CONFIG=asked))["slices"] == 2


def test_the_environment_sets_them_too(scans: Path) -> None:
    assert json.loads(scanned(scans=scans, LITS_DEPLOY_SCAN_JSON="1"))["slices"] == 2


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("LITS_DEPLOY_SCAN_TIMELIMIT", "did you mean LITS_DEPLOY_SCAN_TIME_LIMIT"),
        ("LITS_DEPLOY_SCAN_XYZ", "unset it"),
        ("LITS_DEPLOY_DATA_PHANTOM_PATIENT", "did you mean LITS_DEPLOY_DATA_PHANTOM_PATIENTS"),
    ],
)
def test_a_variable_that_sets_nothing_is_refused(
    tmp_path: Path, scans: Path, monkeypatch: pytest.MonkeyPatch, name: str, fix: str
) -> None:
    monkeypatch.setenv(name, "1")
    arguments = ["data", "phantom", str(tmp_path / "out")] if "DATA" in name else ["scan", str(scans)]
    with pytest.raises(UserError, match=f"{name} sets no option. Fix: {fix}"):
        run(arguments)
    assert not (tmp_path / "out").exists()


def test_variables_of_other_commands_and_of_none_are_let_pass(scans: Path) -> None:
    """A machine's environment may serve many commands, and other programs of ours."""
    scanned(scans=scans, LITS_DEPLOY_CLASSIFY_BATCHSIZE="4", LITS_DEPLOY_SALT="x", LITS_DEPLOY_SCANNER="x")
    scanned(scans=scans, LITS_DEPLOY_SCAN_SERVICE_HOST="10.0.0.1", LITS_DEPLOY_SCAN_PORT_80_TCP="x")


def test_command_line_before_environment_before_file(tmp_path: Path, scans: Path) -> None:
    asked = config(tmp_path, "[data.phantom]\npatients = 2\nlayout = 'nifti'\nseed = 1\n")
    arguments = ["--config", asked, "data", "phantom", str(tmp_path / "out"), "--patients", "1"]
    result = runner.invoke(app, arguments, env={"LITS_DEPLOY_DATA_PHANTOM_SEED": "5"})
    assert result.exit_code == 0, result.output
    assert "1 patient" in result.output or "nifti" in result.output
    assert "seed 5" in result.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[scan]\njsn = true\n", "lits.toml: `lits-deploy scan` has no --jsn. Fix: did you mean json?"),
        ("[scan]\nany_body_part = true\n", "has no --any_body_part. Fix: did you mean any-body-part?"),
        ("[scann]\njson = true\n", "no command 'scann'. Fix: did you mean scan?"),
        ("json = true\n", "no command 'json'"),
        ("scan = 3\n", "scan is no table"),
        ("[scan\n", "is no TOML"),
        ("[data.phantom.more]\nseed = 1\n", "has no --more"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, scans: Path, text: str, says: str) -> None:
    arguments = ["data", "phantom", str(tmp_path / "out")] if "data" in text else ["scan", str(scans)]
    with pytest.raises(UserError, match=re.escape(says)):
        run(["--config", config(tmp_path, text), *arguments])


def test_a_value_of_another_kind_is_one_line(tmp_path: Path, scans: Path) -> None:
    result = runner.invoke(app, ["--config", config(tmp_path, "[scan]\nworkers = 'two'\n"), "scan", str(scans)])
    assert result.exit_code == 2
    assert "'--workers'" in result.output


def test_no_file_there(tmp_path: Path, scans: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        run(["--config", str(tmp_path / "none.toml"), "scan", str(scans)])


def test_settings_of_other_commands_are_not_looked_at(tmp_path: Path, scans: Path) -> None:
    """They would need their modules, and an edge box has not all of them."""
    assert "2" in scanned("--config", config(tmp_path, "[train]\nanything = 1\n"), scans=scans)


def test_completion_names_commands_and_options() -> None:
    for line, index, answer in (("lits-deploy cla", 1, "classify"), ("lits-deploy classify --ba", 2, "--batch-size")):
        done = subprocess.run(
            [sys.executable, "-m", "lits_deploy"],
            env={"_LITS_DEPLOY_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(index)},
            capture_output=True,
            text=True,
        )
        assert (done.stdout.split(), done.stderr) == ([answer], "")
