"""Everything at the tiny scale with real trainings: killed with SIGKILL on the way, and taken up again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from train.recipes.registry import RECIPES

FIGURES = 24


@pytest.mark.slow
def test_all_recipes_survive_a_kill(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    program = [sys.executable, "-m", "lits_deploy"]
    subprocess.run([*program, "data", "phantom", str(data), "--patients", "6"], check=True)
    command = [*program, "reproduce", "all", "--data", str(data), "--out", str(out), "--scale", "tiny"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line.startswith("  resnet34-lr1e-4") and line.rstrip().endswith("trained"):
                first.send_signal(signal.SIGKILL)
                break
    done = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("runs/*/test.json")}
    assert len(done) >= 3
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    first_said = {
        line.split(":")[0].strip(): line.split()[-2:]
        for line in reversed(second.stdout.splitlines())
        if line.startswith("  ")
    }
    for name in done:  # neither taken further nor begun anew the first time it was asked for
        assert first_said[name] == ["there", "already"]
    for name in RECIPES:
        assert json.loads((out / name / "result.json").read_text())["finished"]
        assert (out / name / "README.md").is_file()
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == FIGURES
    assert all(f'id="{name}"' in page for name in RECIPES)
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert not [line for line in again.stdout.splitlines() if line.endswith(" trained")]
