"""False alarms and planted shifts on a data set's own patients, or on phantoms: a record and a page.

    python -m benchmarks.drift.power DATA [--rounds 300] [--record FILE.json] [--page FILE.md]
    python -m benchmarks.drift.power --phantoms 21 …

Patients of train and validate, never test. A series beside all others: each patient once, with and without a shift. A
night beside the rest: patients drawn without replacement, so that no patient is on both sides. Then the smallest shift
that a night would show beside all of them. Pictures have neither HU nor mm; phantoms have both, and are synthetic.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.drift.page import page
from benchmarks.drift.shifts import IN_MM, SHIFTS, Plant, ShiftedScan
from export.training_series import scans_of
from lits_deploy.contract import InputContract, window_to_uint8
from lits_deploy.drift.compare import against, marked_of, rate
from lits_deploy.drift.features import BY_NAME
from lits_deploy.drift.portrait import Portrait, by_looks, by_size
from lits_deploy.drift.reference import reference_of
from lits_deploy.files import write_json, write_text
from lits_deploy.nights.compare import compare, scipy_stats
from lits_deploy.nights.night import sample_of
from lits_deploy.nights.report import FALSE_SHARE
from lits_deploy.nights.smallest import smallest_shift
from lits_deploy.printable import say, say_error
from lits_deploy.program import run_program
from lits_deploy.scans.appearance import ONE_IN, look, of_hu, packed
from train.data.layout import Layout, read_layout
from train.data.load import loader
from train.phantom import make_phantom

NIGHTS = (4, 8)
"""Series in a night, drawn out of all; the rest are the training series."""

SMALLEST_FOR = (4, 8, 16, 32)
WINDOW = (-40.0, 160.0)
PHANTOM_SEED, PHANTOM_SLICES = 20_230_402, 96

Portraits = dict[str, list[Portrait]]
"""One of each patient, by shift."""


def of_pictures(layout: Layout) -> Iterator[ShiftedScan]:
    """The scans of a data set, every fourth slice: as many as `classify` looks at."""
    window = layout.window_hu or WINDOW
    load = loader(InputContract(window_hu=window))
    for samples in scans_of(layout):
        slices = np.concatenate([load(sample.image) for sample in samples[ONE_IN // 2 :: ONE_IN]])
        yield ShiftedScan.of_pictures(slices, window)


def of_phantoms(count: int) -> Iterator[ShiftedScan]:
    """As many phantoms, every fourth slice of each."""
    for patient in range(count):
        made = make_phantom(PHANTOM_SEED, patient, slices=PHANTOM_SLICES)
        hu = made.hu[ONE_IN // 2 :: ONE_IN].astype(np.float32)
        slices = window_to_uint8(hu, WINDOW)
        yield ShiftedScan(slices=slices, hu=hu, window=WINDOW, measured=True, spacing_mm=made.grid_mm)


def portraits(scans: Iterator[ShiftedScan], plants: dict[str, Plant], seed: int = 0) -> Portraits:
    """Every patient under every shift."""
    found: Portraits = {name: [] for name in plants}
    for number, scan in enumerate(scans):
        for name, plant in plants.items():
            found[name].append(portrait_of(plant(scan, np.random.default_rng([seed, number]))))
        say_error(f"{number + 1} patients")
    return found


def portrait_of(scan: ShiftedScan) -> Portrait:
    """A scan in the numbers that `classify` keeps of it."""
    looks = []
    for index, (grey, hu) in enumerate(zip(scan.slices, scan.hu, strict=True)):
        in_hu = partial(of_hu, hu, np.asarray) if scan.measured else None
        if seen := look(np.ascontiguousarray(grey), in_hu):
            looks.append((index, packed(seen)))
    numbers = by_looks(looks)
    if scan.spacing_mm is not None:
        step, row, column = scan.spacing_mm
        rows, columns = scan.hu.shape[1:]
        numbers |= {"step_mm": step} | by_size((row * rows, column * columns), numbers)
    return Portrait(numbers=numbers)


def alone(found: Portraits) -> dict[str, dict[str, Any]]:
    """Each patient's series, shifted, beside all others as they are: how many are marked, and for what most."""
    usual, rows = found["nothing"], {}
    for name, shifted in found.items():
        reasons = Counter[str]()
        for index, own in enumerate(shifted):
            result = against(reference_of(usual[:index] + usual[index + 1 :]), own)
            if result.marked:
                reasons[result.deviations[0].number.what] += 1
        most = reasons.most_common(1)
        rows[name] = {"marked": reasons.total(), "of": len(shifted), "for": most[0][0] if most else None}
    return rows


def nights(found: Portraits, count: int, rounds: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Nights of `count` patients, shifted, beside the rest as they are: in what share of them anything is found, and
    what share of their series is marked."""
    usual, rng = found["nothing"], np.random.default_rng([seed, count])
    hits, marks = Counter[str](), Counter[str]()
    for _ in range(rounds):
        order = rng.permutation(len(usual)).tolist()
        others = [usual[index] for index in order[count:]]
        rest, reference = sample_of("training", others, "c"), reference_of(others)
        for name, shifted in found.items():
            series = [shifted[index] for index in order[:count]]
            marks[name] += sum(against(reference, one).marked for one in series)
            night = sample_of("night", series, "c")
            (comparison,) = compare([(night, rest)], false_share=FALSE_SHARE, smallest=False)
            hits[name] += bool(comparison.found)
    return {name: {"found": hits[name] / rounds, "marked": marks[name] / rounds / count} for name in found}


def smallest(found: Portraits) -> dict[str, dict[str, Any]]:
    """Of each number: median and range of the patients, and the medians that a night of some size must reach."""
    sample, stats = sample_of("training", found["nothing"]), scipy_stats()
    rows = {}
    for name, column in sample.numbers.items():
        edges = {
            str(count): smallest_shift(
                BY_NAME[name], column, count, false_share=FALSE_SHARE, tests=len(sample.numbers), stats=stats
            )
            for count in SMALLEST_FOR
        }
        rows[name] = {
            "median": float(np.median(column)),
            "range": [float(column.min()), float(column.max())],
            "found": edges,
        }
    return rows


def measured(scans: Iterator[ShiftedScan], plants: dict[str, Plant], rounds: int) -> dict[str, Any]:
    """The record, less what the data is."""
    found = portraits(scans, plants)
    patients = len(found["nothing"])
    return {
        "patients": patients,
        "rounds": rounds,
        "false_share": FALSE_SHARE,
        "marked_of": marked_of(patients - 1),
        "by_rule": {str(count): rate(patients - count) for count in NIGHTS},
        "alone": alone(found),
        "nights": {str(count): nights(found, count, rounds) for count in NIGHTS},
        "smallest": smallest(found),
    }


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--phantoms", type=int, help="so many, in place of DATA")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--page", type=Path)
    asked = parser.parse_args()
    if (asked.data is None) == (asked.phantoms is None):
        parser.error("give DATA, or --phantoms N")
    document: dict[str, Any]
    if asked.data is None:
        document = {"data": "phantoms", "synthetic": True}
        document |= measured(of_phantoms(asked.phantoms), {**SHIFTS, **IN_MM}, asked.rounds)
    else:
        layout = read_layout(asked.data)
        document = {"data": asked.data.resolve().name, "synthetic": layout.synthetic}
        document |= measured(of_pictures(layout), SHIFTS, asked.rounds)
    text = page(document)
    say(*text.splitlines())
    if asked.record is not None:
        write_json(asked.record, document)
    if asked.page is not None:
        write_text(asked.page, text)
    return 0


if __name__ == "__main__":
    run_program(main)
