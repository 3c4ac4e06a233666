"""README and help stay true to the commands there are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lits_deploy.cli.app import COMMANDS, app
from scripts import script

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
runner = CliRunner()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented_and_helps(command: str) -> None:
    assert f"\n## lits-deploy {command}\n" in REFERENCE
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_help_lists_every_command_and_the_disclaimer() -> None:
    result = runner.invoke(app, ["--help"])
    assert all(re.search(rf"^  {command} ", result.output, re.MULTILINE) for command in COMMANDS)
    assert "not for clinical use" in " ".join(result.output.split())
    assert "not for clinical use" in README


def test_commands_of_the_docs_exist() -> None:
    pages = [
        README,
        *(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md") if page.name != "log.md"),
    ]
    named = {word for page in pages for word in re.findall(r"^(?:    |\$ )lits-deploy ([a-z]\w+)", page, re.MULTILINE)}
    assert len(named) > len(COMMANDS) / 2
    assert named <= set(COMMANDS)


def test_wrong_command_and_users_error_exit_2_without_traceback(tmp_path: Path) -> None:
    for arguments in (["clasify"], ["verify", str(tmp_path)], ["train", "--data", str(tmp_path / "none")]):
        done = subprocess.run([sys.executable, "-m", "lits_deploy", *arguments], capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


def test_bare_commands_say_what_is_missing(tmp_path: Path) -> None:
    for command, says in (("train", "lits-deploy data phantom data"), ("export", "lits-deploy train")):
        done = subprocess.run(
            [sys.executable, "-m", "lits_deploy", command], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert says in done.stderr


def test_typer_is_told_not_to_touch_tracebacks() -> None:
    assert isinstance(app, typer.Typer)
    assert app.pretty_exceptions_enable is False


def test_the_reference_is_what_help_prints() -> None:
    """Also: no help names a type of Python."""
    made = script("cli_reference")
    text = made.reference()
    assert made.PAGE.read_text(encoding="utf-8") == text, "python scripts/cli_reference.py"
    assert not re.findall(r"<(?:int|float|str|path|bool)[\w \[\]]*>", text)


def test_every_column_of_the_tables_is_explained() -> None:
    from lits_deploy.results import PAIR_SLICES, STUDIES

    formats = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    explained = {name for line in formats.splitlines() if line.startswith("|") for name in re.findall(r"`(\w+)`", line)}
    assert {*PAIR_SLICES.columns, *STUDIES.columns} - explained == set()
