"""`lits-deploy segment` as a process: killed and started again, it ends in the bytes of an undisturbed run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from folder_runs import answered
from worlds import SIZE, Series

pytest.importorskip("onnx")

SLICES = 120
LONG = 60.0  # seconds until the test gives up
TABLES = ("slices.csv", "studies.csv", "volumes.csv", "masks.csv")


def command(bundle: Path, scans: Path, out: Path) -> list[str]:
    line = [sys.executable, "-m", "lits_deploy", "segment", str(bundle), str(scans), "--out", str(out)]
    return [*line, "--masks", "png,nifti", "--salt", "one", "--batch-size", "1", "--runtime", "onnxruntime"]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_killed_and_resumed_it_gives_the_same_masks(tmp_path: Path) -> None:
    from tiny_unet import make_tiny_unet

    bundle = make_tiny_unet(tmp_path / "unet", size=SIZE).folder
    Series(name="ct", count=60, step=2.0).write(tmp_path / "scans")
    Series(name="ct2", count=60, step=2.0, down=(0, -1, 0)).write(tmp_path / "scans")
    done = subprocess.run(command(bundle, tmp_path / "scans", tmp_path / "whole"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "nifti" in done.stdout
    assert "not for clinical use" in done.stdout

    out = tmp_path / "out"
    process = subprocess.Popen(command(bundle, tmp_path / "scans", out), stdout=subprocess.DEVNULL)
    until = time.monotonic() + LONG
    while not answered(out) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert 0 < answered(out) < SLICES
    assert not (out / "masks").exists()
    again = subprocess.run(command(bundle, tmp_path / "scans", out), capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "before" in again.stdout
    for name in TABLES:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert tree(out / "masks") == tree(tmp_path / "whole" / "masks")
    assert len(tree(out / "masks")) == SLICES + 2 + 1
