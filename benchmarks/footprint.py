"""Start-up and memory of `lits-deploy classify` as a whole command: its start to the first result; all its processes.

    python -m benchmarks.footprint BUNDLE --scans FOLDER [FOLDER …] [--limit N] [--rounds 5]

Start-up runs are not watched; memory runs are, every 20 ms, and their times are not used. RSS counts pages that
processes share once for each; PSS shares them out. Writes docs/results/footprint-<machine>.json and .md. Needs psutil.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from benchmarks.fresh import ROOT
from benchmarks.peers.lineup import Entry, lineup
from benchmarks.record_command import conclude, open_classifier, parser_of
from benchmarks.records import Session, middle, spread
from benchmarks.report import machine_line, markdown_table, number
from benchmarks.scans import Scans, find_scans
from lits_deploy.bundle import Bundle
from lits_deploy.errors import MissingExtra, UserError
from lits_deploy.machine import cores
from lits_deploy.printable import say_error
from lits_deploy.program import run_program
from lits_deploy.run_json import read_run_json

SCHEMA = 1
START_AIM_S, MEMORY_AIM_MB = 1.5, 500.0
EVERY_S = 0.02

_COMMAND = """
import sys, time
sys.path[0] = sys.argv[1]
del sys.argv[1]
import lits_deploy.pipeline.run as pipeline
real = pipeline.{function}
def timed(*given, **named):
    print("called", time.monotonic(), file=sys.stderr, flush=True)
    return real(*given, **named)
pipeline.{function} = timed
from lits_deploy.__main__ import main
main()
"""
"""The command itself, telling when it calls the pipeline; the clock is the machine's, the same in both processes."""

Result = dict[str, Any]


def start(bundle: Bundle, entry: Entry, scans: Scans, threads: int, *, watch: bool) -> Result:
    """Run the command once. first_result_s, whole_s: from the start of the process; parts of it; peaks if watched."""
    with tempfile.TemporaryDirectory(prefix="lits-deploy-footprint-") as place:
        command = [
            sys.executable, "-c", _COMMAND.format(function=FUNCTION), str(ROOT), "classify", str(bundle.folder),
            *map(str, scans.roots), "--out", f"{place}/out", "--artifact", str(entry.artifact), "--runtime",
            entry.runtime, "--device", "cpu", "--threads", str(threads),
        ]  # fmt: skip
        begun = monotonic()
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        ) as process:  # fmt: skip
            peaks = _watch(process.pid, process) if watch else {}
            said = process.communicate()[1]
        ended = monotonic()
        called = next((float(line.split()[1]) for line in said.splitlines() if line.startswith("called ")), None)
        record = Path(place, "out", "run.json")
        if called is None or not record.is_file():
            raise UserError(f"`classify` failed: {(said.strip().splitlines() or ['no message'])[-1]}")
        run = read_run_json(record)
    parts = run["timings"]["start_up"]
    return {
        "imports_s": called - begun, "workers_ready_s": called - begun + parts["workers_ready_s"],
        "network_loaded_s": parts["network_loaded_s"], "first_result_s": called - begun + parts["first_result_s"],
        "whole_s": ended - begun, "slices": run["counts"]["slices"], **peaks,
    }  # fmt: skip


def _watch(pid: int, process: subprocess.Popen[str]) -> Result:
    """Peaks of the sums over the process and its children, in 10⁶ bytes, until it ends."""
    import psutil

    rss = pss = 0.0
    at_most: dict[str, float] = {}
    members = 0
    parent = psutil.Process(pid)
    while process.poll() is None:
        try:
            family = [parent, *parent.children(recursive=True)]
        except psutil.Error:
            break
        now: list[tuple[float, float]] = []
        for member in family:
            try:
                memory = member.memory_full_info()
            except psutil.Error:
                continue
            now.append((memory.rss / 1e6, memory.pss / 1e6))
        if total := sum(r for r, _ in now):
            if total > rss:
                at_most = {"parent_mb": now[0][0], "children_mb": total - now[0][0]}
            rss, pss, members = max(rss, total), max(pss, sum(p for _, p in now)), max(members, len(now))
        sleep(EVERY_S)
    if not rss:  # a program that holds scans is not dumpable, and Linux shows its memory to root alone
        raise UserError("The memory of `classify` cannot be read: only root may.", fix="run it with sudo")
    return {"rss_mb": rss, "pss_mb": pss, "processes": members, **at_most}


def lines(document: Result) -> list[str]:
    """Start-up and memory of each runtime and artifact, with the aims."""
    begin, memory = [], []
    for row in document["rows"]:
        first, most = middle([r["first_result_s"] for r in row["starts"]]), middle([r["rss_mb"] for r in row["memory"]])
        assert first is not None
        assert most is not None
        begin.append(
            [
                row["name"], *(number(middle([r[key] for r in row["starts"]]), 2) for key in
                               ("imports_s", "workers_ready_s", "network_loaded_s")),
                _seconds([r["first_result_s"] for r in row["starts"]]),
                _judged(first, START_AIM_S, "s", "onnxruntime" in row["name"]),
            ]
        )  # fmt: skip
        last = row["memory"][-1]
        memory.append(
            [
                row["name"], spread([r["rss_mb"] for r in row["memory"]]), spread([r["pss_mb"] for r in row["memory"]]),
                number(last["parent_mb"], 0), number(last["children_mb"], 0), str(last["processes"]),
                _judged(most, MEMORY_AIM_MB, "MB", row["artifact"] == "fp32"),
            ]
        )  # fmt: skip
    head = ["candidate", "imports s", "workers ready s", "network loaded in s", "first result s", "aim"]
    held = ["candidate", "peak RSS MB", "peak PSS MB", "main MB", "workers MB", "processes", "aim"]
    return [
        f"# Start-up and memory of `lits-deploy classify`: {document['model'].get('name')}", "",
        machine_line(document), "",
        f"{document['scans']}; {document['threads']} threads; medians of {document['rounds']} starts and "
        f"{len(document['rows'][0]['memory']) if document['rows'] else 0} watched runs (least–most)", "",
        "## From the start of the command to the first result in the ledger", "",
        *markdown_table((head, begin), left=1), "", "## Resident memory of all processes", "",
        *markdown_table((held, memory), left=1), "",
        "- the files were in the page cache; imports: from the start of the process to the call of the pipeline.",
        "- RSS counts pages that processes share once for each of them; PSS shares them out.",
        *(f"- {note}" for note in document["notes"]), "", document["disclaimer"],
    ]  # fmt: skip


def _seconds(values: list[float]) -> str:
    return f"{middle(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def _judged(value: float, aim: float, unit: str, asked: bool) -> str:
    if not asked:
        return "–"
    return f"≤ {aim:g} {unit}: {'reached' if value <= aim else 'NOT reached'}"


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = parser_of("footprint", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="starts of each; memory is watched in two runs")
    given = parser.parse_args(arguments)
    rows: list[Result] = []
    try:
        import psutil  # noqa: F401
    except ImportError as error:
        raise MissingExtra("psutil", "bench") from error
    session, bundle = Session(), open_classifier(given.bundle)
    scans, threads = find_scans(given.scans, given.limit), given.threads or cores()
    for file in scans.files:
        Path(file).read_bytes()
    entries = [entry for entry in lineup(bundle, "cpu") if entry.ours]
    rows = [{"name": entry.name, "artifact": entry.artifact, "starts": [], "memory": []} for entry in entries]
    for turn in range(max(1, given.rounds)):
        for entry, row in zip(entries, rows, strict=True):
            say_error(f"start {turn + 1}: {entry.name}")
            row["starts"].append(start(bundle, entry, scans, threads, watch=False))
    for entry, row in zip(entries, rows, strict=True):
        say_error(f"memory: {entry.name}")
        row["memory"] = [start(bundle, entry, scans, threads, watch=True) for _ in range(2)]
    document = session.document(
        "footprint", SCHEMA, bundle={"name": bundle.folder.resolve().name, "sha256": bundle.sha256},
        model=bundle.manifest.model, scans=scans.line, threads=threads, rounds=max(1, given.rounds), rows=rows,
    )  # fmt: skip
    return conclude(document, lines(document), given)


FUNCTION = "run_folder"
"""The pipeline's entry, which the command calls."""


if __name__ == "__main__":
    run_program(main)
