"""Classify 1,000 and then 10,000 slices and compare the peak of resident memory, summed over parent and decode workers.

    python scripts/memory_flat.py BUNDLE SCANS [--few 1000] [--many 10000] [--allowed-mib 60] [-- options of classify]

The slices are links to files of SCANS under distinct names. RSS counts shared pages once per process and is the
criterion; PSS, which shares them out, is shown beside it. Exits 0 if the difference in RSS is within the allowance.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SUFFIXES = {".png", ".jpg", ".jpeg"}
EVERY_S = 0.05


def linked(sources: list[Path], folder: Path, count: int) -> Path:
    """`count` links in folders of 500."""
    for number, source in enumerate(itertools.islice(itertools.cycle(sources), count)):
        study = folder / f"study-{number // 500:04d}"
        study.mkdir(parents=True, exist_ok=True)
        (study / f"slice-{number:06d}{source.suffix}").symlink_to(source)
    return folder


def sample(process: psutil.Process) -> tuple[float, float, int]:
    """RSS and PSS in MiB, summed over a process and its children, and their number; 0 for those that just ended."""
    rss = pss = 0
    family = [process, *process.children(recursive=True)]
    for member in family:
        try:
            memory = member.memory_full_info()
        except psutil.Error:
            continue
        rss, pss = rss + memory.rss, pss + memory.pss
    return rss / 2**20, pss / 2**20, len(family)


def peak(bundle: Path, scans: Path, out: Path, options: list[str]) -> tuple[float, float]:
    """Peak RSS and PSS in MiB of one run."""
    command = [sys.executable, "-m", "lits_deploy", "classify", str(bundle), str(scans), "--out", str(out)]
    command += ["--follow-links", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        process = psutil.Process(run.pid)
        rss = pss = 0.0
        while run.poll() is None:
            try:
                now = sample(process)
            except psutil.Error:
                break
            rss, pss = max(rss, now[0]), max(pss, now[1])
            time.sleep(EVERY_S)
    if run.returncode:  # a failed file costs no memory
        sys.exit(f"classify ended with {run.returncode}")
    record = json.loads((out / "run.json").read_text())
    counts, timings = record["counts"], record["timings"]
    print(
        f"{counts['slices']:>7,} slices: peak RSS {rss:7.1f} MiB, PSS {pss:7.1f} MiB, {timings['slices_per_s']:.0f}/s"
    )
    return rss, pss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--allowed-mib", type=float, default=60.0)
    parser.add_argument("options", nargs="*", help="further options of classify, after --")
    args = parser.parse_args()
    sources = sorted(path.resolve() for path in args.scans.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not sources:
        sys.exit(f"no PNG or JPEG in {args.scans}")
    peaks = []
    with tempfile.TemporaryDirectory(prefix="memory-flat-") as folder:
        for count in (args.few, args.many):
            scans = linked(sources, Path(folder, f"scans-{count}"), count)
            peaks.append(peak(args.bundle, scans, Path(folder, f"out-{count}"), args.options))
    (few_rss, few_pss), (many_rss, many_pss) = peaks
    passed = many_rss - few_rss <= args.allowed_mib
    print(
        f"{'PASSED' if passed else 'FAILED'}: {many_rss - few_rss:+.1f} MiB RSS ({many_pss - few_pss:+.1f} PSS), "
        f"allowed {args.allowed_mib:g}"
    )
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
