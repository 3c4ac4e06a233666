"""The wheel: exactly four packages at its top, and useful without torch in a fresh environment."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiny_bundle import make_tiny_bundle

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


def test_top_level_is_exactly_the_four_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names if not name.split("/")[0].endswith((".dist-info", ".data"))}
    assert top == {"lits_deploy", "train", "export", "benchmarks"}
    assert all(f"{package}/py.typed" in names for package in top)
    assert "lits_deploy/doctor/probe.onnx" in names
    assert "lits_deploy/run.schema.json" in names
    assert any(name.endswith(".data/data/share/lits-deploy/deploy/nightly.sh") for name in names)
    developers = ("results/", "peers/", "growth/", "gpu_check", "gpu_parts", "training_speed")
    assert not [name for name in names if name.startswith(tuple(f"benchmarks/{part}" for part in developers))]
    with zipfile.ZipFile(wheel) as archive:
        source = [info.file_size for info in archive.infolist() if ".data/" not in info.filename]
    assert sum(source) < 3_000_000  # no data, no results


def test_nothing_in_it_imports_what_is_left_out(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sources = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")}
    left_out = {name.removesuffix(".py") for name in _tracked()} - {name.removesuffix(".py") for name in sources}
    assert left_out, "peers and the like"
    for name, text in sources.items():
        for module in re.findall(r"^ *from (benchmarks[\w.]*) import|^ *import (benchmarks[\w.]*)", text, re.MULTILINE):
            path = "".join(module).replace(".", "/")
            assert not {path, f"{path}/__init__"} & left_out, f"{name} imports {path}"


def _tracked() -> list[str]:
    command = ["git", "-C", str(ROOT), "ls-files", "benchmarks/*.py"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_installed_without_torch_it_helps_verifies_and_classifies(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "edge"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--constraint", ROOT / "constraints.txt", f"{wheel}[cpu]"]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scans, out = tmp_path / "scans", tmp_path / "out"
    (scans / "night").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(5):
        Image.fromarray(rng.integers(0, 256, (256, 256)).astype(np.uint8)).save(scans / "night" / f"{index}.png")
    (scans / "broken.png").write_bytes(b"")
    bundle = make_tiny_bundle(tmp_path / "bundle").folder

    def lits_deploy(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(home / "bin" / "lits-deploy"), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 1
    assert "not for clinical use" in " ".join(lits_deploy("--help").stdout.split())
    assert lits_deploy("verify", bundle).returncode == 0
    done = lits_deploy("classify", bundle, scans, "--out", out)
    assert done.returncode == 1, done.stderr  # one file failed
    with (out / "slices.csv").open(newline="") as stream:
        rows = {row["path"]: row for row in csv.DictReader(stream)}
    assert sorted(rows) == ["broken.png", *(f"night/{index}.png" for index in range(5))]
    assert rows["broken.png"]["status"] == "failed"
    assert rows["night/0.png"]["status"] == "ok"
    missing = lits_deploy("train", "--data", scans)
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr


def test_lint_cannot_run_without_the_stubs_of_tensorrt() -> None:
    """mypy takes a missing `tensorrt` for Any, so only make can see to it that they are there."""
    assert "lint: setup $(STUBS)" in (ROOT / "Makefile").read_text()
    assert ".venv/stubs" in (ROOT / "pyproject.toml").read_text()
