"""Our pipeline and its peers on one folder, side by side in one run.

    python -m benchmarks.peers BUNDLE --against RUN --scans FOLDER [FOLDER …] [--limit N] [--rounds 3]

Writes docs/results/peers-<machine>.json and .md. Peers that are not installed are named as not measured
(`pip install -e '.[peers]'`).
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.contest import Contest, aims, summary
from benchmarks.peers.lineup import lineup
from benchmarks.peers.table import lines
from benchmarks.record_command import conclude, open_classifier, parser_of
from benchmarks.records import Session
from benchmarks.scans import find_scans
from lits_deploy.machine import cores
from lits_deploy.printable import say_error
from lits_deploy.program import run_program

SCHEMA = 1


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = parser_of("peers", __doc__)
    parser.add_argument("--against", type=Path, required=True, metavar="RUN", help="training run of the same network")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", metavar="TEXT", action="append", help="candidates with TEXT in their name")
    given = parser.parse_args(arguments)
    session, bundle = Session(), open_classifier(given.bundle)
    scans, threads = find_scans(given.scans, given.limit), given.threads or cores()
    entries = [
        entry
        for entry in lineup(bundle, given.device)
        if not given.only or any(text in entry.name for text in given.only)
    ]
    with Contest(bundle, given.against, scans, entries, threads=threads, device=given.device) as contest:
        contest.prepare(say_error)
        rows = summary(contest, contest.rounds(max(1, given.rounds), say_error))
    document = session.document(
        "peers",
        SCHEMA,
        bundle={"name": bundle.folder.resolve().name, "sha256": bundle.sha256},
        model=bundle.manifest.model,
        run=given.against.resolve().name,
        scans=scans.line,
        rows=rows,
        aims=aims(rows),
        failed=contest.failed,
        settings={
            "threads": threads,
            "rounds": max(1, given.rounds),
            "device": given.device,
            "trials": contest.trials,
        },
    )
    return conclude(document, lines(document), given)


if __name__ == "__main__":
    run_program(main)
