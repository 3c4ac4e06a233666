"""Killed with SIGKILL at random moments and started again, a run ends with the tables of an undisturbed one."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import psutil
import pytest

from folder_runs import SIZE, workers_of
from hostile_corpus import dicom_file, hu_slice, nifti_file, originals
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

KINDS = ("csv", "parquet", "jsonl")
KILLS = 4


def command(bundle: Path, scans: Path, out: Path) -> list[str]:
    arguments = ["--format", ",".join(KINDS), "--batch-size", "2", "--salt", "one"]
    return [sys.executable, "-m", "lits_deploy", "classify", str(bundle), str(scans), "--out", str(out), *arguments]


def mixed_scans(folder: Path) -> Path:
    """Pictures, a DICOM series of two-digit length, volumes and a zip of it all, and a file that fails."""
    scans = folder_of_slices(folder, 240, size=SIZE)
    (scans / "study-0" / "empty.png").write_bytes(b"")
    series = scans / "dicom"
    series.mkdir()
    for number in range(60):
        (series / f"{number:03d}").write_bytes(dicom_file(hu_slice(number), number=number))
    for number in range(3):
        (scans / f"volume-{number}.nii").write_bytes(nifti_file(slices=30))
    with zipfile.ZipFile(scans / "more.zip", "w") as archive:
        for name, data in originals().items():
            archive.writestr(name, data)
    return scans


def run(*arguments: Path) -> int:
    done = subprocess.run(command(*arguments), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_killed_and_resumed_runs_give_the_same_bytes(tmp_path: Path, channels: int) -> None:
    contract = {"size": SIZE, "crop": 56, "window_hu": (-160.0, 240.0), "channels": channels}
    bundle = make_tiny_bundle(tmp_path / "bundle", **contract).folder
    scans = mixed_scans(tmp_path / "scans")
    started = time.monotonic()
    assert run(bundle, scans, tmp_path / "undisturbed") == 1
    wall_s = time.monotonic() - started

    dice = random.Random()
    kills, rounds, workers = 0, 0, list[psutil.Process]()
    while kills < KILLS:  # nearly always one round; a run may reach its end before it is killed
        rounds += 1
        out = tmp_path / f"out{rounds}"
        while kills < KILLS:
            process = subprocess.Popen(command(bundle, scans, out), stdout=subprocess.DEVNULL)
            try:
                process.wait(dice.uniform(0.3, 0.7) * wall_s)
                break
            except subprocess.TimeoutExpired:
                workers += workers_of(process.pid)
                process.kill()
                process.wait()
                kills += 1
        assert run(bundle, scans, out) == 1
        for name in (f"{table}.{kind}" for table in ("slices", "studies") for kind in KINDS):
            assert (out / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
    assert not psutil.wait_procs(workers, timeout=5)[1]
