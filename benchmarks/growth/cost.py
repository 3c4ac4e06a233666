"""What a plan, one shard and a merge take beside `classify` in one go, whole processes in turns.

    python -m benchmarks.growth.cost BUNDLE SCANS [--precision fp32|int8] [--rounds 5] [--folder DISK] [--out JSON]

Each round runs both ways in a random order and compares their tables byte by byte. Aims, over 10,000 slices:
1.05 times the time of `classify` at FP32, 1.15 times at INT8.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.machine import MachineRecord
from lits_deploy.files import write_json
from lits_deploy.printable import say
from lits_deploy.program import run_program
from lits_deploy.results import SLICES, STUDIES

SCHEMA = 1
AIMS = {"fp32": 1.05, "int8": 1.15}
DRAWS = 4000
"""Of the bootstrap over rounds."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--precision", choices=sorted(AIMS), default="fp32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the jobs and results lie [the system's]")
    parser.add_argument("--out", type=Path, help="write the record there")
    asked = parser.parse_args()
    session, rounds, slices = MachineRecord(), list[dict[str, float]](), 0
    for number in range(asked.rounds + 1):  # the first fills the caches of files
        with tempfile.TemporaryDirectory(prefix="cost-", dir=asked.folder) as folder:
            seconds, slices = one_round(Path(folder), asked.bundle, asked.scans, asked.precision)
        if number:
            rounds.append(seconds)
            say(f"round {number}: " + ", ".join(f"{step} {took:.2f} s" for step, took in seconds.items()))
    document = session.document("sharding-cost", SCHEMA, **summary(rounds, slices, asked.precision))
    say(line(document))
    if asked.out:
        write_json(asked.out, document)
    say(json.dumps(document))
    return 0


def one_round(folder: Path, bundle: Path, scans: Path, precision: str) -> tuple[dict[str, float], int]:
    """Seconds of `classify`, and of plan, shard and merge; and the slices. RuntimeError where tables differ."""
    at_once, job, merged = folder / "at-once", folder / "job", folder / "merged"
    key, how = folder / "salt", ["--precision", precision]
    key.write_text("of-a-benchmark" * 4)
    key.chmod(0o600)
    salt = ["--salt-file", key]
    seconds = dict[str, float]()

    def in_one_go() -> None:
        seconds["classify"] = timed("classify", bundle, scans, "--out", at_once, *how, *salt)

    def in_shards() -> None:
        seconds["plan"] = timed("plan", bundle, scans, "--out", job, "--shard-slices", "1000000", *how, *salt)
        seconds["shard"] = timed("classify", bundle, "--job", job, "--shard", "0", *salt)
        seconds["merge"] = timed("merge", job, "--out", merged, *salt)

    for way in random.sample([in_one_go, in_shards], 2):
        way()
    for table in (SLICES, STUDIES):
        if table.path(at_once, "csv").read_bytes() != table.path(merged, "csv").read_bytes():
            raise RuntimeError(f"{table.path(merged, 'csv').name} is not the one of a single run")
    record = json.loads((at_once / "run.json").read_text())
    shutil.rmtree(folder)
    folder.mkdir()  # for whoever made it to take away
    return seconds, int(record["counts"]["slices"])


def timed(*arguments: object) -> float:
    """Seconds of a command of `lits-deploy`, start and end included. Raises CalledProcessError."""
    begun = perf_counter()
    subprocess.run([sys.executable, "-m", "lits_deploy", *map(str, arguments)], check=True, capture_output=True)
    return perf_counter() - begun


def summary(rounds: Sequence[dict[str, float]], slices: int, precision: str) -> dict[str, Any]:
    """Medians, milliseconds a slice, and the ratio of both ways with its 95 % interval over rounds."""
    ratios = [(one["plan"] + one["shard"] + one["merge"]) / one["classify"] for one in rounds]
    rng = random.Random(0)
    drawn = sorted(median(rng.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    medians = {step: median(one[step] for one in rounds) for step in rounds[0]}
    return {
        "precision": precision,
        "slices": slices,
        "rounds": list(rounds),
        "median_s": medians,
        "ms_per_slice": {step: 1000 * took / slices for step, took in medians.items()},
        "ratio": {"median": median(ratios), "low": drawn[DRAWS // 40], "high": drawn[-DRAWS // 40 - 1]},
        "aim": AIMS[precision],
    }


def line(document: dict[str, Any]) -> str:
    """A record for people."""
    ratio, each = document["ratio"], document["ms_per_slice"]
    verdict = "reached" if ratio["median"] <= document["aim"] else "not reached"
    return (
        f"{document['precision']}, {document['slices']:,} slices: {ratio['median']:.3f} times `classify`"
        f" ({ratio['low']:.3f} to {ratio['high']:.3f}; aim {document['aim']}: {verdict});"
        f" plan {each['plan']:.3f}, merge {each['merge']:.3f} ms a slice of {each['classify']:.3f}; the same tables"
    )


if __name__ == "__main__":
    run_program(main)
