"""One small archive of all kinds of scans, run on one machine and spread over several workers, by the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from folder_runs import SIZE
from hostile_corpus import dicom_file, hu_slice, nifti_file, originals
from pictures import folder_of_slices
from tiny_bundle import make_tiny_bundle

KINDS = ("csv", "parquet", "jsonl")
TABLES = [f"{table}.{kind}" for table in ("slices", "studies") for kind in KINDS]
LONG = 300.0  # seconds until a test gives up


class Runs:
    """A bundle, scans of all kinds with files that fail, and what an ordinary run makes of them."""

    def __init__(self, folder: Path) -> None:
        self.bundle = make_tiny_bundle(folder / "bundle", size=SIZE, crop=56, window_hu=(-160.0, 240.0)).folder
        self.scans = folder_of_slices(folder / "scans", 120, size=SIZE)
        (self.scans / "study-0" / "empty.png").write_bytes(b"")
        series = self.scans / "dicom"
        series.mkdir()
        for number in range(30):
            (series / f"{number:03d}").write_bytes(dicom_file(hu_slice(number), number=number))
        (self.scans / "volume.nii").write_bytes(nifti_file(slices=30))
        with zipfile.ZipFile(self.scans / "more.zip", "w") as archive:
            for name, data in originals().items():
                archive.writestr(name, data)
        self.whole = folder / "whole"
        self.run(self.whole)

    def command(self, out: Path, *more: str) -> list[str]:
        args = ["classify", str(self.bundle), str(self.scans), "--out", str(out), "--salt", "one", "--batch-size", "2"]
        return [sys.executable, "-m", "lits_deploy", *args, "--format", ",".join(KINDS), *more]

    def on(self, out: Path, on: str, shard_slices: int = 30) -> list[str]:
        return self.command(out, "--on", on, "--shard-slices", str(shard_slices))

    def spread(self, out: Path, devices: str = "cpu:2", shard_slices: int = 30) -> list[str]:
        return self.command(out, "--devices", devices, "--shard-slices", str(shard_slices))

    def run(self, out: Path, *more: str) -> str:
        return finished(self.command(out, *more))

    def is_whole(self, out: Path) -> None:
        for name in TABLES:
            assert (out / name).read_bytes() == (self.whole / name).read_bytes(), name


def finished(command: list[str], environment: Mapping[str, str] = os.environ) -> str:
    """What a run said on standard error, in which some files failed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, env=dict(environment))
    assert done.returncode == 1, done.stderr
    return done.stderr


def processes_of(pid: int) -> list[psutil.Process]:
    """A command's children, and their decode workers."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
