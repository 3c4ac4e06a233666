"""Our pipeline and its peers on one folder, side by side in one run, and what ours costs over the bare runtime.

    python -m benchmarks.peers BUNDLE --scans FOLDER [FOLDER …] [--against RUN] [--limit N] [--rounds 3]

Writes docs/results/peers-<machine>.json and .md. Peers that are not installed are named as not measured
(`pip install -e '.[peers]'`); without a RUN, those that take its checkpoint are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.machine import MachineRecord, machine_name
from benchmarks.peers.contest import Contest, aims, summary
from benchmarks.peers.lineup import find_scans, lineup
from benchmarks.peers.table import lines
from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.files import write_json, write_printable
from lits_deploy.machine import cores
from lits_deploy.printable import say, say_error
from lits_deploy.program import run_program

SCHEMA = 2


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=description)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--scans", type=Path, required=True, nargs="+", metavar="FOLDER", help="PNG or JPEG slices")
    parser.add_argument("--against", type=Path, metavar="RUN", help="training run of the same network")
    parser.add_argument("--limit", type=int, metavar="N", help="take N files, evenly spread")
    parser.add_argument("--threads", type=int, default=0, help="0: every core")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", metavar="TEXT", action="append", help="candidates with TEXT in their name")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), metavar="FOLDER")
    parser.add_argument("--name", help="of the machine, in the file names")
    given = parser.parse_args(arguments)
    session, bundle = MachineRecord(), open_classifier(given.bundle)
    scans, threads, rounds = find_scans(given.scans, given.limit), given.threads or cores(), max(1, given.rounds)
    entries = [entry for entry in lineup(bundle, given.device) if given.against or entry.artifact]
    entries = [entry for entry in entries if any(text in entry.name for text in given.only or [""])]
    contest = Contest(bundle, given.against, scans, entries, threads=threads, device=given.device)
    contest.prepare(say_error)
    rows = summary(contest, contest.rounds(rounds, say_error))
    trials = {name: {f"{b}x{w}": rate for (b, w), rate in tried.items()} for name, tried in contest.trials.items()}
    document = session.document(
        "peers",
        SCHEMA,
        bundle={"name": bundle.folder.resolve().name, "sha256": bundle.sha256},
        model=bundle.manifest.model,
        run=given.against and given.against.resolve().name,
        scans=scans.line,
        rows=rows,
        aims=aims(rows),
        failed=contest.failed,
        settings={"threads": threads, "rounds": rounds, "device": given.device, "trials": trials},
    )
    text = lines(document)
    say(*text)
    stem = f"peers-{given.name or machine_name(document['machine'])}"
    write_json(given.out / f"{stem}.json", document)
    write_printable(given.out / f"{stem}.md", "\n".join(text) + "\n")
    say(f"wrote {given.out / stem}.json and .md")
    return 0


def open_classifier(folder: Path) -> Bundle:
    """A classifier's bundle; BundleError where it segments, or sees neighbouring slices, which no peer reads."""
    bundle = Bundle.open(folder)
    if bundle.manifest.task != "classify":
        raise BundleError(f"{folder} segments; this compares classifiers.", fix="export a classifier")
    if (channels := bundle.manifest.contract.channels) != 1:
        raise BundleError(
            f"{folder} sees {channels} slices at once; this compares networks of one.",
            fix="train one with --channels 1",
        )
    return bundle


if __name__ == "__main__":
    run_program(main)
