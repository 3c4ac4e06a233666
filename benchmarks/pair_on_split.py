"""A pair on a split whose truth is known, as `classify` answers it: figures of its classifier, its U-Net and both.

    python -m benchmarks.pair_on_split PAIR DATA [--split test] [--artifact FILE] [--out FILE.json]

`evaluate` takes no pair, since what one promises is known out of fold. This is for a split whose patients had no part
in it. The U-Net ranks by its tumour pixels, none where it did not look.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fresh import ChildError
from benchmarks.machine import MachineRecord
from export.bootstrap import resample
from export.pair.figures import by_witness
from export.promise import share
from lits_deploy.bundle import Bundle
from lits_deploy.errors import DataError
from lits_deploy.files import write_json
from lits_deploy.operating_point import ARGMAX
from lits_deploy.printable import say
from lits_deploy.program import run_program
from lits_deploy.scans.paths import escape
from lits_deploy.series import natural
from lits_deploy.synthetic import CAVEAT
from lits_deploy.witnesses import FIGURES, WITNESSES, figure_text
from train.data.layout import Sample, layout_for
from train.data.masks import load_class

SCHEMA = 1

Row = dict[str, str]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The record. DataError where the bundle is no pair or a slice of the split has no answer."""
    session = MachineRecord()
    bundle = Bundle.open(given.pair)
    if bundle.manifest.segmenter is None:
        raise DataError(f"{given.pair} is not a pair.", fix="`lits-deploy evaluate` takes a bundle of one network")
    layout = layout_for(given.data, given.split)
    samples = sorted(layout.splits[given.split], key=lambda one: (one.patient, one.scan, natural(one.image.name)))
    rows = answers(given.pair, given.data / given.split / "images", samples, given.artifact)
    lesion = np.array([load_class(sample) == 2 for sample in samples])
    patients = [sample.patient for sample in samples]
    scores = {
        "classifier": np.array([float(row["p2"]) for row in rows]),
        "segmenter": np.array([float(row["tumour_pixels"] or 0) for row in rows]),
        "pair": np.array([float(row["p_lesion"]) for row in rows]),
    }
    marked, resamples = np.array([row["label"] == "2" for row in rows]), resample(patients)
    artifact = bundle.artifact(rows[0]["artifact"])
    return session.document(
        "a pair on a split",
        SCHEMA,
        bundle=bundle.sha256,
        artifact=artifact.name,
        data=layout.root.resolve().name,
        split=given.split,
        synthetic=layout.synthetic,
        slices=len(rows),
        patients=len(set(patients)),
        **by_witness(scores, lesion, patients, [sample.scan for sample in samples]),
        rule=artifact.operating_point or ARGMAX,
        sensitivity=share(marked, lesion, resamples),
        specificity=share(~marked, ~lesion, resamples),
    )


def answers(pair: Path, images: Path, samples: Sequence[Sample], artifact: str | None) -> list[Row]:
    """Each sample's row of slices.csv, written by the program itself. ChildError, DataError."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lits_deploy", "classify", str(pair), str(images), "--out", folder]
        command += ["--no-report", *(["--artifact", artifact] if artifact else [])]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise ChildError(f"classify failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        with (Path(folder) / "slices.csv").open(newline="", encoding="utf-8") as stream:
            found = {row["path"]: row for row in csv.DictReader(stream) if row["p_lesion"]}
    missing = [sample.image.name for sample in samples if escape(sample.image.name) not in found]
    if missing:
        raise DataError(f"{len(missing):,} slices have no answer, such as {missing[0]}.", fix="take them out")
    return [found[escape(sample.image.name)] for sample in samples]


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="A pair on a split whose truth is known.")
    parser.add_argument("pair", type=Path)
    parser.add_argument("data", type=Path, help="data set in the training layout")
    parser.add_argument("--split", default="test")
    parser.add_argument("--artifact", help="a model file of the pair by its name; else the one that classify takes")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    record = measure(given)
    if record["synthetic"]:
        say(CAVEAT)
    say(f"{record['data']}/{record['split']}: {record['slices']:,} slices of {record['patients']} patients")
    for name, title in WITNESSES.items():
        say(f"{title}: " + ", ".join(f"{label} {figure_text(record[name][key])}" for key, label in FIGURES.items()))
    found, spared = (figure_text(record[key]) for key in ("sensitivity", "specificity"))
    say(f"by {record['rule']}: sensitivity {found}, specificity {spared}")
    if given.out is not None:
        write_json(given.out, record)
    return 0


if __name__ == "__main__":
    run_program(main)
