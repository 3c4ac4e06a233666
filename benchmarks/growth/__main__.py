"""How plan and merge grow with the number of files: synthetic scans and answers, no pixels.

    python -m benchmarks.growth [--sizes 10000,…,10000000] [--steps plan,…] [--folder DISK] [--out JSON] [--plot PNG]

Every step of every size runs in a process of its own: `plan` of new scans, `again` of the same ones. Written down are
seconds and processor time per file, and the peak of resident memory. Aims: the time per file of a step stays within
25 % from the smallest size of 100,000 files or more to the largest, and no step takes more than 1.5 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.growth.plot import draw
from benchmarks.growth.step import STEPS
from benchmarks.machine import MachineRecord
from lits_deploy.files import write_json
from lits_deploy.printable import say
from lits_deploy.program import run_program

SCHEMA = 1
FLAT, MOST_MB, SETTLED = 1.25, 1500.0, 100_000
"""The aims, and the size from which starting up no longer shows."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000,10000000", help="numbers of files, joined by commas")
    parser.add_argument("--steps", default=",".join(STEPS), help="steps to do, joined by commas")
    parser.add_argument("--folder", type=Path, help="where the jobs and the scratch data lie [the system's]")
    parser.add_argument("--out", type=Path, help="write the record there")
    parser.add_argument("--plot", type=Path, help="draw the record there")
    asked = parser.parse_args()
    session, rows = MachineRecord(), list[dict[str, Any]]()
    for size in sorted(int(text) for text in asked.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="growth-", dir=asked.folder) as folder:
            for step in asked.steps.split(","):
                rows.append(measured(step, size, Path(folder), asked.folder))
                say(line(rows[-1]))
    document = session.document("growth", SCHEMA, rows=rows, aims=aims(rows))
    for text in document["aims"]:
        say(text)
    if asked.out:
        write_json(asked.out, document)
    if asked.plot:
        draw(document, asked.plot)
    say(json.dumps(document))
    return 0


def measured(step: str, size: int, folder: Path, scratch: Path | None) -> dict[str, Any]:
    """One step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth.step", step, "--entries", str(size), "--folder", str(folder)]
    environment = os.environ | ({} if scratch is None else {"TMPDIR": str(scratch)})
    free = shutil.disk_usage(folder).free
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {
        **row,
        "us_per_entry": 1e6 * row["seconds"] / size,
        "cpu_us_per_entry": 1e6 * row["cpu_seconds"] / size,
        "disk_mb": (free - shutil.disk_usage(folder).free) / 1e6,
    }


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    return (
        f"{row['step']:>6} {row['entries']:>12,} files {row['seconds']:>9.1f} s {row['us_per_entry']:>7.1f} µs a file"
        f" ({row['cpu_us_per_entry']:.1f} of the processor) {row['peak_mb']:>7.0f} MB"
    )


def aims(rows: list[dict[str, Any]]) -> list[str]:
    """What was aimed at, and whether it was reached."""
    found = []
    for step in dict.fromkeys(row["step"] for row in rows):
        own = [row for row in rows if row["step"] == step]
        settled = [row for row in own if row["entries"] >= SETTLED] or own
        ratio, of_processor = (settled[-1][name] / settled[0][name] for name in ("us_per_entry", "cpu_us_per_entry"))
        peak = max(row["peak_mb"] for row in own)
        first, last = settled[0]["entries"], settled[-1]["entries"]
        verdict = "reached" if ratio <= FLAT and peak <= MOST_MB else "not reached"
        found.append(
            f"{step}: × {ratio:.2f} a file (× {of_processor:.2f} of the processor) from {first:,} to {last:,} files,"
            f" peak {peak:,.0f} MB: {verdict}"
        )
    return found


if __name__ == "__main__":
    run_program(main)
