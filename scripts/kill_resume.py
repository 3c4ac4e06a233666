"""Kill a folder run with SIGKILL at random moments, resume it each time, compare its tables with an undisturbed run's.

    python scripts/kill_resume.py BUNDLE SCANS [--kills 20] [--seed 0] [-- options of classify]

Exits 0 if every table is byte-identical, no decode worker outlived its run and none had memory in /dev/shm; else 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

TABLES = ("slices.csv", "slices.parquet", "slices.jsonl")


def command(args: argparse.Namespace, out: Path) -> list[str]:
    what = [
        str(args.bundle),
        str(args.scans),
        "--out",
        str(out),
        "--format",
        "csv,parquet,jsonl",
        "--salt",
        "one",
        *args.options,
    ]
    return [sys.executable, "-m", "lits_deploy", "classify", *what]


def hashes(out: Path) -> dict[str, str]:
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest()[:16] for name in TABLES}


def run_to_end(args: argparse.Namespace, out: Path) -> float:
    started = time.monotonic()
    done = subprocess.run(command(args, out), capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"classify failed:\n{done.stderr}")
    return time.monotonic() - started


def maps(process: psutil.Process) -> list[Any]:
    try:
        return process.memory_maps()
    except psutil.Error:
        return []


def kill_once(args: argparse.Namespace, out: Path, after_s: float) -> bool:
    """Start the run and kill it after a while; True if it was still alive then. Exits if a worker outlives it."""
    process = subprocess.Popen(command(args, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=after_s)
        return False
    except subprocess.TimeoutExpired:
        workers = psutil.Process(process.pid).children(recursive=True)
        if any(map_.path.startswith("/dev/shm") for worker in workers for map_ in maps(worker)):
            sys.exit("FAILED: memory that would stay in /dev/shm")
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(workers, timeout=5)
    if alive:
        sys.exit(f"FAILED: {len(alive)} decode workers outlived their run")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="*", help="further options of classify, after --")
    args = parser.parse_args()
    dice = random.Random(args.seed)

    with tempfile.TemporaryDirectory(prefix="kill-resume-") as folder:
        undisturbed = Path(folder, "undisturbed")
        wall_s = run_to_end(args, undisturbed)
        wanted = hashes(undisturbed)
        timings = json.loads((undisturbed / "run.json").read_text())["timings"]
        # Late enough that most kills hit the work, early enough that one run lasts for all of them.
        latest_s = wall_s - timings["files_s"] + 2 * timings["files_s"] / args.kills
        print(f"undisturbed: {wall_s:.1f} s, {wanted}")

        kills, rounds, wrong = 0, 0, 0
        while kills < args.kills:
            rounds += 1
            out = Path(folder, f"killed-{rounds}")
            while kills < args.kills and kill_once(args, out, dice.uniform(0.05, latest_s)):
                kills += 1
                print(f"kill {kills:2d} ({'ledger' if (out / 'ledger.sqlite').exists() else 'nothing'} there)")
            run_to_end(args, out)
            same = hashes(out) == wanted
            wrong += not same
            print(f"run {rounds}, resumed to its end after {kills} kills: {'identical' if same else hashes(out)}")
    print(f"{'FAILED' if wrong else 'PASSED'}: {kills} kills, {rounds} runs, {wrong} of them with other tables")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
