"""Phantoms as a training data set on disk: `<split>/images`, `<split>/masks`, `dataset.json`; split by patient.

Every file appears whole or not at all, and `dataset.json` appears last: a folder with it is complete. While a run is
under way the folder holds `.phantom-unfinished`, so a run that was cut off can simply be started again. Knows nothing
about training.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import OutputError, UserError
from lits_deploy.files import write_json, write_text
from train.data.slices import (
    LABELS,
    SPLITS,
    Progress,
    count_classes,
    drop_leftovers,
    run_jobs,
    slice_name,
    write_slice,
)
from train.phantom.anatomy import make_phantom

MARKER = ".phantom-unfinished"
FEWEST_PATIENTS = 3


@dataclass(frozen=True, kw_only=True)
class _Job:
    out: Path
    split: str
    seed: int
    patient: int
    window_hu: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class _Written:
    split: str
    patient: int
    classes: list[int]
    spacing_mm: tuple[float, float, float]


def write_slices(
    out: Path,
    patients: int,
    seed: int,
    *,
    window: tuple[float, float] = (-40.0, 160.0),
    fractions: tuple[float, float, float] = (0.70, 0.15, 0.15),
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write phantoms 0…patients−1 of `seed` as 8-bit slices and masks, and return what `dataset.json` holds.

    `<split>/images/volume-VVV_SSSS.png` is 8-bit grey through `window` (HU), `<split>/masks/…` of the same name holds
    labels 0, 1, 2. `fractions` are the shares of patients for train, validate and test, at least one each. The bytes
    do not depend on `workers` (processes; by default one per processor).

    Raises UserError for impossible numbers, OutputError where `out` holds something that this function did not write.
    """
    if patients < FEWEST_PATIENTS:
        raise UserError(
            f"{patients} patients cannot be split into train, validate and test.", fix="ask for at least 3 patients"
        )
    if seed < 0:
        raise UserError(f"The seed {seed} is negative.", fix="give a seed of 0 or more")
    if not window[0] < window[1]:
        raise UserError(f"The window {window} HU is empty.", fix="give LOW HIGH with LOW < HIGH")
    split = split_patients(patients, fractions)
    _claim(out)
    jobs = [
        _Job(out=out, split=name, seed=seed, patient=number, window_hu=window)
        for name in SPLITS
        for number in split[name]
    ]
    done: list[_Written] = []
    for written in run_jobs(_write_patient, jobs, workers):
        done.append(written)
        if progress is not None:
            progress(len(done), len(jobs))
    done.sort(key=lambda w: w.patient)
    drop_leftovers(out, {(w.split, slice_name(w.patient, level)) for w in done for level in range(len(w.classes))})
    summary = _describe(done, seed, window)
    write_json(out / "dataset.json", summary)
    (out / MARKER).unlink()
    return summary


def split_patients(patients: int, fractions: Sequence[float]) -> dict[str, list[int]]:
    """Patient numbers of each split, at least one each.

    Runs of neighbouring numbers: neighbours differ by design (see `patient`), so every run holds a fair mix.
    """
    total = sum(fractions)
    if len(fractions) != len(SPLITS) or min(fractions) <= 0:
        raise UserError(
            f"Three positive fractions are needed, not {tuple(fractions)}.", fix="for example 0.7 0.15 0.15"
        )
    validate, test = (max(1, round(patients * f / total)) for f in fractions[1:])
    while patients - validate - test < 1:
        validate, test = (validate - 1, test) if validate > test else (validate, test - 1)
    train = patients - validate - test
    numbers = list(range(patients))
    return {
        "train": numbers[:train],
        "validate": numbers[train : train + validate],
        "test": numbers[train + validate :],
    }


def _claim(out: Path) -> None:
    """Take an absent or empty folder, or one that this module wrote; mark it unfinished."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file.", fix="name a folder")
    if out.is_dir() and any(out.iterdir()) and not _is_ours(out):
        raise OutputError(f"{out} is not empty and holds no phantoms.", fix="name a new or empty folder")
    write_text(out / MARKER, "lits-deploy data phantom is writing here, or was cut off: start it again.\n")
    (out / "dataset.json").unlink(missing_ok=True)


def _is_ours(out: Path) -> bool:
    if (out / MARKER).exists():
        return True
    try:
        return bool(json.loads((out / "dataset.json").read_text(encoding="utf-8"))["source"] == "phantom")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write_patient(job: _Job) -> _Written:
    phantom = make_phantom(job.seed, job.patient)
    grey = window_to_uint8(phantom.hu, job.window_hu)
    for level in range(len(grey)):
        write_slice(job.out, job.split, slice_name(job.patient, level), grey[level], phantom.labels[level])
    return _Written(
        split=job.split,
        patient=job.patient,
        classes=[int(labels.max()) for labels in phantom.labels],
        spacing_mm=phantom.spacing_mm,
    )


def _describe(done: list[_Written], seed: int, window: tuple[float, float]) -> dict[str, Any]:
    return {
        "source": "phantom",
        "synthetic": True,
        "seed": seed,
        "window_hu": list(window),
        "split_by": "patient",
        "patients": {split: [w.patient for w in done if w.split == split] for split in SPLITS},
        "slices_per_class": count_classes((w.split, target) for w in done for target in w.classes),
        "spacing_mm": {str(w.patient): [round(v, 4) for v in w.spacing_mm] for w in done},
        "labels": LABELS,
        "note": "Synthetic: no patient's pixels. Slices lie further apart than they are thick.",
    }
