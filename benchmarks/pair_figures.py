"""What a classifier, a U-Net and both together do out of fold, from two folded runs; no bundle is made.

    python -m benchmarks.pair_figures RUN RUN-UNET [--out FILE.json]

The same figures and promises that `bundle pair` writes into a pair (`export.pair`), for a decision whether to make one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks.machine import MachineRecord
from export.pair.evidence import read
from export.pair.figures import measured
from export.pair.fit import fit, points_of
from lits_deploy.files import write_json
from lits_deploy.operating_point import OUT_OF_FOLD, OperatingPoint, promised
from lits_deploy.printable import say
from lits_deploy.program import run_program
from lits_deploy.synthetic import CAVEAT
from lits_deploy.witnesses import pair_lines

SCHEMA = 1


def measure(runs: tuple[Path, Path]) -> dict[str, Any]:
    """The record: figures, rule and points."""
    record = MachineRecord()
    ours, theirs, evidence = read(*runs)
    fitted = fit(evidence.target, evidence.logits, evidence.counts)
    return record.document(
        "a pair out of fold",
        SCHEMA,
        data=evidence.data,
        synthetic=evidence.synthetic,
        folds=ours.folds,
        networks=[one.record["model"] for one in (ours, theirs)],
        checkpoints=[one.record["checkpoints"] for one in (ours, theirs)],
        fusion={**fitted.fusion.record(), "temperature": fitted.fusion.temperature},
        figures=measured(evidence),
        operating_points=points_of(evidence, fitted),
    )


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="Two witnesses out of fold.")
    parser.add_argument("classifier", type=Path, help="folded run of a classifier")
    parser.add_argument("segmenter", type=Path, help="folded run of a U-Net on the same patients and folds")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    record = measure((given.classifier, given.segmenter))
    if record["synthetic"]:
        say(CAVEAT)
    for text in pair_lines(record["figures"]):
        say(text)
    for point in record["operating_points"]:
        promise = promised(OperatingPoint.from_json(point), {"source": OUT_OF_FOLD})
        say(f"{point['rule']}: {promise}")
    if given.out is not None:
        write_json(given.out, record)
    return 0


if __name__ == "__main__":
    run_program(main)
