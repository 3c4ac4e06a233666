"""One step of one size, in a process of its own so that its peak memory is known; JSON on standard output."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.growth import synthetic_scans
from benchmarks.growth.answers import publish
from lits_deploy.machine import peak_resident_bytes
from lits_deploy.pipeline.options import ClassifyOptions
from lits_deploy.printable import say
from lits_deploy.program import run_program
from lits_deploy.sharding.job_folder import JobFolder
from lits_deploy.sharding.merge import MergeOptions
from lits_deploy.sharding.merge import merge as merge_shards
from lits_deploy.sharding.plan import plan_scans
from lits_deploy.sharding.plan_record import PlanRequest

OPTIONS = ClassifyOptions(salt="of growth")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--entries", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    asked = parser.parse_args()
    before = peak_resident_bytes()
    begun, computed = perf_counter(), process_time()
    figures = STEPS[asked.step](asked.entries, asked.folder)
    measured = {
        "step": asked.step,
        "entries": asked.entries,
        "seconds": perf_counter() - begun,
        "cpu_seconds": process_time() - computed,
        "peak_mb": peak_resident_bytes() / 1e6,
        "peak_before_mb": before / 1e6,
    }
    say(json.dumps({**measured, **figures}))
    return 0


def plan(entries: int, folder: Path) -> dict[str, Any]:
    """Plan so many files; with a plan there, plan the same again."""
    listing = synthetic_scans.SyntheticScans(entries)
    asked = PlanRequest(bundle=synthetic_scans.bundle(), listing=listing, roots=["/archive"], options=OPTIONS)
    summary = plan_scans(asked, JobFolder(str(folder / "job")), open_reader=synthetic_scans.headers)
    return {"shards": summary.shards, "series": summary.series, "new_shards": summary.new}


def answer(entries: int, folder: Path) -> dict[str, Any]:
    """Publish answers that were made up: no step of ours, but what a merge needs."""
    job = JobFolder(str(folder / "job"))
    record = job.read()
    for entry in job.missing(record):
        publish(job, record, entry, OPTIONS)
    return {"shards": len(record.shards)}


def merge(entries: int, folder: Path) -> dict[str, Any]:
    """Merge all shards; with an output folder there, once more."""
    asked = MergeOptions(report=False)
    summary = merge_shards(JobFolder(str(folder / "job")), folder / "out", options=OPTIONS, asked=asked)
    return {"shards": summary.merged, "slices": summary.run.slices, "run_id": summary.run.run_id}


STEPS = {"plan": plan, "again": plan, "answer": answer, "merge": merge, "merge again": merge}
"""In their order."""

if __name__ == "__main__":
    run_program(main)
