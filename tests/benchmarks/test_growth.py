"""The benchmark of growth: made-up scans are complete and in another order; its steps run and are written down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.growth.__main__ import aims
from benchmarks.growth.synthetic_scans import SLICES, SyntheticScans


def test_made_up_scans_are_complete_and_unordered() -> None:
    for count in (1, SLICES, 3 * SLICES + 7):
        paths = [found.path for found in SyntheticScans(count)]
        assert len(set(paths)) == len(paths) == count
    assert paths != sorted(paths)


def test_it_measures_and_writes_it_down(tmp_path: Path) -> None:
    out, plot = tmp_path / "growth.json", tmp_path / "growth.png"
    command = [sys.executable, "-m", "benchmarks.growth", "--sizes", "300,600", "--out", str(out), "--plot", str(plot)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert {row["entries"] for row in document["rows"]} == {300, 600}
    assert {row["step"]: row["new_shards"] for row in document["rows"] if "new_shards" in row} == {
        "plan": 1,
        "again": 0,
    }
    assert json.loads(done.stdout.splitlines()[-1])["kind"] == "growth"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_aims_compare_what_has_settled() -> None:
    rows = [
        {"step": "plan", "entries": entries, "us_per_entry": us, "cpu_us_per_entry": 40.0, "peak_mb": peak}
        for entries, us, peak in ((10_000, 90.0, 90.0), (100_000, 50.0, 200.0), (10_000_000, 60.0, 1400.0))
    ]
    assert aims(rows) == [
        "plan: × 1.20 a file (× 1.00 of the processor) from 100,000 to 10,000,000 files, peak 1,400 MB: reached"
    ]
    rows[-1]["us_per_entry"] = 70.0
    assert aims(rows)[0].endswith("not reached")
