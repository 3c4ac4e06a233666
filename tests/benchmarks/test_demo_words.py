"""What the demo says while it runs: one thought a line, since a console writes out a line feed within one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import demo


def test_each_step_is_said_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=0))
    monkeypatch.setattr(demo, "score", lambda *a: dict.fromkeys((*demo.AIMS, "balanced_accuracy"), 1.0))
    said: list[str] = []
    demo.run_demo(tmp_path / "demo", said.append)
    assert all(line.isprintable() for line in said)
    assert [line[:5] for line in said if line.startswith("[")] == [f"[{n}/6]" for n in range(1, 7)]
    assert sum(line.startswith("$ lits-deploy ") for line in said) == 6
