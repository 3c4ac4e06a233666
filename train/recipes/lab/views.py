"""Parts and other splits of a data set, as folders of links in the training layout: trainings need not know of them.

A view copies no picture. Its name holds a hash of what is in it, so a view that is there is the right one.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lits_deploy.errors import DataError
from lits_deploy.files import canonical_json, sha256_bytes, write_json, write_text
from lits_deploy.spreadsheet import csv_text
from train.data.layout import SPLITS, Sample
from train.data.spread import middles
from train.prepare.split import FEWEST_PATIENTS, split_patients
from train.recipes.lab.dataset import DataSet
from train.recipes.lab.scale import WorkScale

Splits = dict[str, list[Sample]]


def scaled(data: DataSet, scale: WorkScale, splits: Splits | None = None) -> Splits:
    """The slices that a scale leaves of each split: of `splits`, else of the data set's own."""
    whole = splits or {split: list(samples) for split, samples in data.layout.splits.items()}
    return {split: thin(data, samples, scale.slices_of(split, len(samples))) for split, samples in whole.items()}


def thin(data: DataSet, samples: Sequence[Sample], wanted: int) -> list[Sample]:
    """`wanted` slices, or a few more, in their order.

    Every class keeps its share (and two slices, if it has them), and within a class every n-th slice is taken, patient
    after patient, so every patient keeps its share as well.
    """
    if wanted >= len(samples):
        return list(samples)
    kept: set[Path] = set()
    classes = [[sample for sample in samples if data.classes[sample.image] == target] for target in range(3)]
    left = wanted
    for rank, members in enumerate(sorted(classes, key=len)):
        members.sort(key=lambda sample: (sample.patient, sample.image.name))
        share = left if rank == 2 else round(wanted * len(members) / len(samples))  # the largest takes the rest
        count = min(len(members), max(2, share))
        left -= count
        kept.update(sample.image for sample in middles(members, count))
    return [sample for sample in samples if sample.image in kept]


def by_patient(data: DataSet) -> Splits:
    """The data set's own split if no patient stands in two; else its patients dealt anew, in the same shares.

    Raises DataError for fewer than three patients.
    """
    if data.layout.split_by == "patient":
        return {split: list(samples) for split, samples in data.layout.splits.items()}
    patients = {sample.patient for sample in data.samples}
    if len(patients) < FEWEST_PATIENTS:
        raise DataError(f"{data.root} has {len(patients)} patients: too few to split by patient.", fix="give more data")
    dealt = split_patients(patients, 0, [len(samples) for samples in data.layout.splits.values()])
    return {split: [sample for sample in data.samples if dealt[sample.patient] == split] for split in SPLITS}


def by_slice(splits: Splits, seed: int = 0) -> Splits:
    """All slices dealt anew by chance, as many to each split as before: a patient's slices come to all sides."""
    pool = [sample for split in SPLITS for sample in splits[split]]
    order = np.random.default_rng(seed).permutation(len(pool))
    parts = np.split(order, np.cumsum([len(splits[split]) for split in SPLITS])[:-1])
    return {split: [pool[i] for i in sorted(part)] for split, part in zip(SPLITS, parts, strict=True)}


def with_neighbours(data: DataSet, splits: Splits) -> Splits:
    """The same but for one thing: half of the test slices (every other one) train, in place of as many of train's.

    `test` is the other half: the slices between those that were trained on.
    """
    ordered = sorted(splits["test"], key=lambda sample: (sample.patient, sample.image.name))
    test, moved = ordered[::2], ordered[1::2]
    rest = thin(data, splits["train"], max(0, len(splits["train"]) - len(moved)))
    return {"train": [*rest, *moved], "validate": splits["validate"], "test": test}


def write_view(data: DataSet, splits: Splits, folder: Path, *, name: str, split_by: str) -> Path:
    """A folder below `folder` with links to the slices of `splits`; the one that is there if it holds the same."""
    listing = {split: [str(s.image.relative_to(data.root)) for s in samples] for split, samples in splits.items()}
    key = sha256_bytes(canonical_json([data.identity, split_by, listing]).encode())[:8]
    target = folder / f"{name}-{key}"
    if target.is_dir():
        return target
    building = folder / f".{target.name}.tmp"
    if building.exists():  # of a process that was killed
        shutil.rmtree(building)
    for split, samples in splits.items():
        _write_split(data, building / split, samples)
    write_json(building / "dataset.json", {**data.layout.declared, "split_by": split_by, "view_of": data.name})
    building.replace(target)
    return target


def _write_split(data: DataSet, folder: Path, samples: Sequence[Sample]) -> None:
    masks = all(sample.mask is not None for sample in samples)
    (folder / "images").mkdir(parents=True)
    if masks:
        (folder / "masks").mkdir()
    rows, taken = [("file", "target", "patient", "scan")], set()
    for sample in samples:
        stem = sample.image.stem
        if stem in taken:  # of another split
            stem += f"-{sample.image.parent.parent.name}"
        taken.add(stem)
        name = stem + sample.image.suffix
        _link(folder / "images" / name, sample.image)
        if masks and sample.mask is not None:
            _link(folder / "masks" / f"{stem}.png", sample.mask)
        rows.append((name, str(data.classes[sample.image]), sample.patient, sample.scan))
    if not masks:
        write_text(folder / "targets.csv", csv_text(rows))


def _link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target.resolve())
    except OSError:  # a file system without links
        shutil.copyfile(target, path)
