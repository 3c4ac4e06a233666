"""`lits-deploy data check` as typed: table, findings, exit codes, JSON, contact sheet."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lits_deploy.cli.app import app
from phantom_data import make_phantom_data
from pictures import png_header


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_phantom_data(tmp_path / "data")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["data", "check", *map(str, arguments), "--workers", "1"])


def test_clean_data_prints_the_table_and_exits_0(data: Path) -> None:
    result = run(data)
    assert result.exit_code == 0, result.output
    assert "2 liver with lesion" in result.output
    assert "1 (0)" in result.output
    assert "window -40…160 HU" in result.output
    assert "nothing wrong" in result.output


def test_errors_exit_1_and_long_lists_are_cut(data: Path) -> None:
    for path in (data / "train" / "images").iterdir():
        path.write_bytes(png_header(60_000, 60_000))
    result = run(data)
    assert result.exit_code == 1
    assert result.output.count("decompression bomb") == 5
    assert "7 more of kind unreadable-image" in result.output
    assert "12 errors, 0 warnings, 0 notes" in result.output


def test_json_is_one_object_and_warnings_exit_0(data: Path, tmp_path: Path) -> None:
    (data / "dataset.json").unlink()
    result = run(data, "--json", "--montage", tmp_path / "sheet.png")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["findings"][0]["kind"] == "window-unknown"
    assert document["slices"] == 36
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_window_on_the_command_line(data: Path) -> None:
    result = run(data, "--window", 60, 260)
    assert result.exit_code == 1
    assert "error: data set: the grey levels do not fit the window 60…260 HU" in result.output


def test_wrong_arguments_exit_2_in_one_line(tmp_path: Path) -> None:
    for arguments in ([str(tmp_path / "none")], [str(tmp_path)]):
        done = subprocess.run(
            [sys.executable, "-m", "lits_deploy", "data", "check", *arguments], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    assert run("--help").exit_code == 0
    assert run(tmp_path, "--window", 60).exit_code == 2
