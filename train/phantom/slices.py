"""Phantoms as a training data set: `<split>/images`, `<split>/masks`, `dataset.json`; split by patient."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import UserError
from train.data.layout import SPLITS
from train.data.slices import Progress, slice_name, write_slice
from train.phantom.anatomy import make_phantom
from train.phantom.folder import Job, Written, count_classes, describe, write_patients

FEWEST_PATIENTS = 3


def write_slices(
    out: Path,
    patients: int,
    seed: int,
    *,
    window: tuple[float, float] = (-40.0, 160.0),
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write phantoms 0…patients−1 of `seed` as 8-bit slices and masks, and return what `dataset.json` holds.

    `<split>/images/volume-VVV_SSSS.png` is 8-bit grey through `window` (HU), `<split>/masks/…` of the same name holds
    labels 0, 1, 2. The bytes do not depend on `workers` (processes; by default one per processor).

    Raises UserError for impossible numbers, OutputError where `out` holds something that this function did not write.
    """
    if patients < FEWEST_PATIENTS:
        raise UserError(
            f"{patients} patients cannot be split into train, validate and test.", fix="ask for at least 3 patients"
        )
    if not window[0] < window[1]:
        raise UserError(f"The window {window} HU is empty.", fix="give LOW HIGH with LOW < HIGH")
    split = split_patients(patients)
    jobs = [
        Job(out=out, split=name, seed=seed, patient=number, window_hu=window)
        for name in SPLITS
        for number in split[name]
    ]
    return write_patients("slices", jobs, _write_patient, partial(_summary, window), workers=workers, progress=progress)


def split_patients(patients: int) -> dict[str, list[int]]:
    """Patient numbers of each split: 70, 15 and 15 %, at least one each.

    Runs of neighbouring numbers: neighbours differ by design (see `patient`), so every run holds a fair mix.
    """
    numbers, few = list(range(patients)), max(1, round(0.15 * patients))
    return {"train": numbers[: -2 * few], "validate": numbers[-2 * few : -few], "test": numbers[-few:]}


def _write_patient(job: Job) -> Written:
    phantom = make_phantom(job.seed, job.patient)
    names = [slice_name(job.patient, level) for level in range(len(phantom.hu))]
    for name, grey, labels in zip(names, window_to_uint8(phantom.hu, job.window_hu), phantom.labels, strict=True):
        write_slice(job.out, job.split, name, grey, labels)
    return describe(job, phantom, [f"{job.split}/{name}" for name in names])


def _summary(window: tuple[float, float], done: list[Written]) -> dict[str, Any]:
    parts = {split: [w for w in done if w.job.split == split] for split in SPLITS}
    return {
        "window_hu": list(window),
        "split_by": "patient",
        "patients": {split: [w.job.patient for w in part] for split, part in parts.items()},
        "slices_per_class": {split: count_classes(part) for split, part in parts.items()},
        "note": "Synthetic: no patient's pixels. Slices lie further apart than they are thick.",
    }
