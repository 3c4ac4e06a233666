"""What the pipeline costs over the bare runtime: folder to CSV against a loop on ready arrays, in turns.

    python -m benchmarks.overhead BUNDLE --scans FOLDER [FOLDER …] [--limit N] [--rounds 5]

Every artifact on every CPU runtime that it is placed for: the bare loop (a library's own calls on decoded slices, load
and warm-up outside the clock) at the pipeline's batch size, and `classify` from files to CSV, each in a fresh process,
in an order that moves on. Overhead is 1 − ours / bare: by wall (start-up, workers, ledger and CSV included) and steady
(from the first results on). Beside it stands where the time went. Writes docs/results/overhead-<machine>.json and .md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fresh import run_fresh
from benchmarks.peers.contest import Contest
from benchmarks.peers.lineup import Entry, lineup, spec_of
from benchmarks.record_command import conclude, open_classifier, parser_of
from benchmarks.records import Session, middle, spread
from benchmarks.report import machine_line, markdown_table, number
from benchmarks.scans import find_scans
from lits_deploy.bundle import Bundle
from lits_deploy.machine import cores
from lits_deploy.pipeline.tuning import CPU_BATCH
from lits_deploy.printable import say_error
from lits_deploy.program import run_program

SCHEMA = 1
AIM = 0.05

Result = dict[str, Any]
Pair = tuple[Entry, Entry]


def pairs(bundle: Bundle) -> list[Pair]:
    """Ours and its bare loop, for every CPU runtime and artifact."""
    entries = lineup(bundle, "cpu")
    found = []
    for ours in entries:
        if not ours.ours:
            continue
        bare = next(
            (e for e in entries if not e.ours and e.library == ours.library and e.artifact == ours.artifact
             and e.mode in ("", "latency") and not e.name.startswith("ultralytics")), None,
        )  # fmt: skip
        if bare is not None:
            found.append((ours, bare))
    return found


def measure(contest: Contest, found: list[Pair], rounds: int, say: Callable[[str], None]) -> list[Result]:
    """A row for each pair: rates of every round, overheads, stages."""
    jobs: list[tuple[str, Callable[[], Result]]] = []
    for ours, bare in found:
        jobs.append((ours.name, lambda entry=ours: contest.folder_job(entry, contest.scans.files)))  # type: ignore[misc]
        jobs.append((f"bare {ours.name}", lambda entry=bare: _bare(contest, entry)))  # type: ignore[misc]
    results: dict[str, list[Result]] = {name: [] for name, _ in jobs}
    for turn in range(rounds):
        first = turn % len(jobs)
        for name, job in jobs[first:] + jobs[:first]:
            say(f"round {turn + 1} of {rounds}: {name}")
            results[name].append(job())
    return [_row(ours, results[ours.name], results[f"bare {ours.name}"]) for ours, _ in found]


def _bare(contest: Contest, entry: Entry) -> Result:
    spec = spec_of(entry, contest.bundle, contest.run, contest.threads, "cpu")
    spec |= {"job": "model", "files": contest.scans.files, "batches": [CPU_BATCH], "batch": CPU_BATCH}
    return run_fresh(entry.module, spec, threads=contest.threads)


def _row(entry: Entry, ours: list[Result], bare: list[Result]) -> Result:
    rates = [done["slices_per_second"][str(CPU_BATCH)] for done in bare]
    wall = [done["slices_per_second"] for done in ours]
    steady = [done["steady_slices_per_second"] for done in ours]
    last = ours[-1]
    stages, start = last["stages"], last["start_up"]
    return {
        "name": entry.name, "runtime": entry.runtime, "artifact": entry.artifact, "bare": rates, "wall": wall,
        "steady": steady, "workers": last["workers"],
        "overhead_wall": middle([1 - a / b for a, b in zip(wall, rates, strict=True)]),
        "overhead_steady": middle([None if a is None else 1 - a / b for a, b in zip(steady, rates, strict=True)]),
        "other_classes": sum(a != b for a, b in zip(last["labels"], bare[-1]["labels"], strict=True)),
        "share_of_wall": {
            "before the first result": start["first_result_s"] / last["wall_s"],
            "network": stages["infer_s"] / last["wall_s"],
            "network waiting": stages["wait_s"] / last["wall_s"],
            "decoding, of one core": stages["decode_s"] / last["wall_s"],
            "ledger and tables": stages["write_s"] / last["wall_s"],
        },
        "stages": stages, "start_up": start,
    }  # fmt: skip


def lines(document: Result) -> list[str]:
    """Rates and overheads, then where the time went."""
    header = ["candidate", "bare loop, slices/s", "folder to CSV, wall", "steady", "overhead, wall", "steady ", "aim"]
    rows, where = [], []
    for row in document["rows"]:
        reached = "reached" if row["overhead_wall"] <= AIM else "NOT reached"
        known = [value for value in row["steady"] if value is not None]
        rows.append(
            [
                row["name"], spread(row["bare"]), spread(row["wall"]), spread(known),
                f"{100 * row['overhead_wall']:.1f} %",
                "–" if row["overhead_steady"] is None else f"{100 * row['overhead_steady']:.1f} %",
                f"≤ {100 * AIM:.0f} %: {reached}",
            ]
        )  # fmt: skip
        where.append([row["name"], *(f"{100 * value:.1f} %" for value in row["share_of_wall"].values())])
    names = list(document["rows"][0]["share_of_wall"]) if document["rows"] else []
    start = [[row["name"], *(number(row["start_up"][key], 2) for key in row["start_up"])] for row in document["rows"]]
    keys = list(document["rows"][0]["start_up"]) if document["rows"] else []
    return [
        f"# The pipeline over the bare runtime: {document['model'].get('name')}", "", machine_line(document), "",
        f"{document['scans']}; batch {CPU_BATCH}, {document['threads']} threads; {document['rounds']} rounds in turns, "
        "medians (least–most)", "", *markdown_table((header, rows), left=1), "",
        "## Where the time went (last round, share of the wall)", "",
        *markdown_table((["candidate", *names], where), left=1), "", "## Start-up in seconds from the call", "",
        *markdown_table((["candidate", *(key.removesuffix("_s").replace("_", " ") for key in keys)], start), left=1),
        "",
        "- bare loop: the library's own calls on decoded slices in memory, without loading, decoding or writing; the "
        "steady rate leaves the pipeline's start out as well.",
        *(f"- {note}" for note in document["notes"]), "", document["disclaimer"],
    ]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = parser_of("overhead", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    session, bundle = Session(), open_classifier(given.bundle)
    scans, threads = find_scans(given.scans, given.limit), given.threads or cores()
    found = pairs(bundle)
    entries = [entry for pair in found for entry in pair]
    with Contest(bundle, given.bundle, scans, entries, threads=threads, device="cpu") as contest:
        for file in scans.files:
            Path(file).read_bytes()
        rows = measure(contest, found, max(1, given.rounds), say_error)
    document = session.document(
        "overhead", SCHEMA, bundle={"name": bundle.folder.resolve().name, "sha256": bundle.sha256},
        model=bundle.manifest.model, scans=scans.line, threads=threads, rounds=max(1, given.rounds), rows=rows,
    )  # fmt: skip
    return conclude(document, lines(document), given)


if __name__ == "__main__":
    run_program(main)
