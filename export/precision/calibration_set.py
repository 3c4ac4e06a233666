"""The slices that INT8 ranges and the FP16 range check are taken from: training patients only, balanced, on record.

A range seen on a slice that is later used to check it would flatter the artifact, so overlap with validate or test, by
patient or by picture, is refused: with the folders at hand, and with what the training noted (`train.data.seen`).
Knows nothing about graphs. Not to be confused with `export.calibrate`, which fits temperature and abstain threshold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.held_out import HeldOut
from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, SliceError
from lits_deploy.files import canonical_json, sha256_bytes
from lits_deploy.machine import cores
from lits_deploy.scans.paths import escape
from train.data.layout import SPLITS, Sample, read_layout
from train.data.load import load_sample
from train.data.masks import load_class
from train.data.seen import own_key, sample_keys
from train.data.spread import middles

COUNT = 512
"""Slices by default: a third of each class where there are that many."""

PHANTOMS = 64
"""Phantoms that stand in for the FP16 range check where no training data is at hand. Never used for INT8."""

CLASSES = 3


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """Slices uint8 [N, C, S, S] and what the manifest says of them (data, patients, classes, names, hash)."""

    slices: npt.NDArray[np.uint8]
    record: dict[str, Any]


def parse(text: str) -> Path:
    """The folder in `DATA` or `DATA:train`; DataError for `DATA:validate` and `DATA:test`."""
    folder, colon, split = text.rpartition(":")
    if not colon or Path(text).exists() or split not in SPLITS:
        return Path(text)
    if split != "train":
        raise DataError(
            f"Calibration slices come from training patients, not from `{split}`.",
            fix=f"--calibration {folder}:train",
        )
    return Path(folder)


def from_training_patients(held: HeldOut, data: Path, *, count: int = COUNT) -> CalibrationSet:
    """`count` slices of the train split, balanced over classes and, within a class, over patients.

    Always the same ones. Raises DataError where there is no such data, where a patient or a picture also stands in
    validate or test (of this data set, or of those the network was trained on), or where pictures cannot be read.
    """
    original, own = held.original, held.layout if data == held.original.data else None
    layout = own or read_layout(data, [split for split in SPLITS if split == "train" or (data / split).is_dir()])
    train = layout.splits["train"]
    held_back = [sample for split in ("validate", "test") for sample in layout.splits.get(split, ())]
    _refuse_patients({sample.patient for sample in train}, {sample.patient for sample in held_back}, data)
    people = {sample.patient for sample in train}
    for split in ("validate", "test"):
        _refuse_patients(people, set(original.past.by_name(split, layout.root, people)), data)
    if original.data is not None and original.data.is_dir() and original.data.resolve() != data.resolve():
        splits = [split for split in ("validate", "test") if (original.data / split).is_dir()]
        other = read_layout(original.data, splits)
        held_back += [sample for split in splits for sample in other.splits[split]]

    with ThreadPoolExecutor(cores()) as pool:
        classes = list(pool.map(load_class, train))
        chosen = [train[i] for i in balanced(classes, [sample.patient for sample in train], count)]
        slices = np.stack(list(pool.map(lambda sample: _load(sample, original.contract), chosen)))
    foreign = {value for value in sample_keys(held_back, held.contract, held.own) if value is not None}
    if original.seen is not None:
        foreign |= original.seen.keys("validate", "test")
    shared = [sample.image.name for sample, picture in zip(chosen, slices, strict=True) if own_key(picture) in foreign]
    if shared:
        raise DataError(
            f"{len(shared)} calibration slices are also in validate or test ({shared[0]}).",
            fix=f"remove them from {data / 'train'}, or give --calibration with training patients only",
        )
    prints = [sha256_bytes(picture.tobytes()) for picture in slices]
    of_class = {sample.image: label for sample, label in zip(train, classes, strict=True)}
    names = [escape(sample.image.stem) for sample in chosen]
    record = {
        "data": held.named("train") if own else f"{data.resolve().name}/train",
        "slices": len(chosen),
        "patients": sorted({sample.patient for sample in chosen}),
        "classes": [sum(of_class[sample.image] == label for sample in chosen) for label in range(CLASSES)],
        "names": names,
        "sha256": sha256_bytes(canonical_json([list(pair) for pair in zip(names, prints, strict=True)]).encode()),
    }
    return CalibrationSet(slices=slices, record=record)


def from_phantoms(held: HeldOut, count: int = PHANTOMS) -> CalibrationSet:
    """Phantoms, for the FP16 range check only where no training data is at hand; the record says so."""
    named = list(held.phantoms(count))
    return CalibrationSet(
        slices=np.stack([picture for _, picture in named]),
        record={"data": "phantoms", "slices": len(named), "names": [name for name, _ in named]},
    )


def balanced(classes: Sequence[int], patients: Sequence[str], count: int) -> list[int]:
    """Indices of at most `count` slices, sorted: classes in equal parts, in each class patients in equal parts.

    What a class or a patient cannot give is shared among the others. Of one patient's slices of a class, evenly
    spread ones are taken.
    """
    by_class: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, (label, patient) in enumerate(zip(classes, patients, strict=True)):
        by_class[label][patient].append(index)
    sizes = {label: sum(map(len, of_patient.values())) for label, of_patient in by_class.items()}
    chosen: list[int] = []
    for label, quota in _shares(sizes, count).items():
        have = {patient: len(indices) for patient, indices in by_class[label].items()}
        for patient, share in _shares(have, quota).items():
            chosen += middles(by_class[label][patient], share)
    return sorted(chosen)


def _shares(have: dict[Any, int], count: int) -> dict[Any, int]:
    """`count` dealt out as evenly as what each one has allows."""
    shares = dict.fromkeys(sorted(have), 0)
    left = min(count, sum(have.values()))
    while left:
        open_ones = [key for key in shares if shares[key] < have[key]]
        each, rest = divmod(left, len(open_ones))
        for n, key in enumerate(open_ones):
            more = min(each + (n < rest), have[key] - shares[key])
            shares[key] += more
            left -= more
    return shares


def _refuse_patients(train: set[str], others: set[str], data: Path) -> None:
    if shared := sorted(train & others):
        raise DataError(
            f"{len(shared)} calibration patients of {data} also stand in validate or test ({', '.join(shared[:5])}).",
            fix="split the data by patient, or give --calibration with training patients only",
        )


def _load(sample: Sample, contract: InputContract) -> npt.NDArray[np.uint8]:
    try:
        return load_sample(sample, contract)
    except SliceError as error:
        raise DataError(f"{sample.image}: {error}.", fix="mend or remove the file") from error
