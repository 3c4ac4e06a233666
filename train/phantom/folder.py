"""Phantoms on disk: who may write in a folder, the patients in processes, and the record that ends a run.

    OUT/<split>/images, masks/volume-VVV_SSSS.png    slices: 8-bit grey through a window, labels 0, 1, 2; by patient
    OUT/dataset.json, OUT/phantom.json               what was written, of slices and of volumes (`nifti`, `dicom`)

Every file appears whole or not at all, and the record appears last: a folder with it is complete. While a run is under
way the folder holds a marker, so that a run that was cut off can simply be started again. Nothing is removed but files
of an earlier phantom run. The bytes do not depend on the number of processes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy import DISCLAIMER
from lits_deploy.contract import window_to_uint8
from lits_deploy.errors import OutputError, UserError
from lits_deploy.files import write_json, write_text
from train.choices import Format
from train.data.in_hu import InHu, joined
from train.data.layout import SPLITS
from train.data.slices import LABELS, Progress, count_classes, drop_leftovers, run_jobs, slice_name, write_slice
from train.phantom.anatomy import Phantom, make_phantom

RECORDS: dict[Format, str] = {"slices": "dataset.json", "nifti": "phantom.json", "dicom": "phantom.json"}
MARKER = ".phantom-unfinished"
_VOLUMES = re.compile(r"(volume|segmentation)-\d+\.nii|volume-\d+/\d{4}\.dcm")


@dataclass(frozen=True, kw_only=True)
class PatientJob:
    """One patient to write below `out`; split and window_hu are of slices."""

    kind: Format
    out: Path
    seed: int
    patient: int
    split: str
    window_hu: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written for one patient. files: relative to the folder, with `/`; classes: of each slice; hu: what they
    were like in HU, of slices."""

    job: PatientJob
    files: list[str]
    classes: list[int]
    spacing_mm: tuple[float, float, float]
    phase: str
    hu: dict[str, float]


def write_phantoms(
    out: Path,
    patients: int,
    seed: int,
    kind: Format = "slices",
    *,
    window: tuple[float, float] = (-40.0, 160.0),
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write phantoms 0…patients−1 of `seed` in one of three forms, and return what the record holds.

    window: of slices, in HU. workers: processes, by default one per processor. Raises UserError for impossible numbers,
    OutputError where `out` holds something that this function did not write, or wrote in another form.
    """
    if kind == "slices" and patients < len(SPLITS):
        raise UserError(
            f"{patients} patients cannot be split into train, validate and test.", fix="ask for at least 3 patients"
        )
    if patients < 1:
        raise UserError(f"{patients} patients are none.", fix="ask for at least 1 patient")
    if not window[0] < window[1]:
        raise UserError(f"The window {window} HU is empty.", fix="give LOW HIGH with LOW < HIGH")
    if seed < 0:
        raise UserError(f"The seed {seed} is negative.", fix="give a seed of 0 or more")
    _claim(out, kind)
    splits = split_patients(patients) if kind == "slices" else {"": list(range(patients))}
    jobs = [
        PatientJob(kind=kind, out=out, seed=seed, patient=number, split=split, window_hu=window)
        for split, numbers in splits.items()
        for number in numbers
    ]
    done: list[Written] = []
    for written in run_jobs(_write, jobs, workers):
        done.append(written)
        if progress is not None:
            progress(len(done), len(jobs))
    done.sort(key=lambda w: w.job.patient)
    _drop_leftovers(out, {file for w in done for file in w.files})
    summary = {
        "source": "phantom",
        "synthetic": True,
        "format": kind,
        "seed": seed,
        "spacing_mm": {str(w.job.patient): list(w.spacing_mm) for w in done},
        "labels": LABELS,
        **(_of_slices(done, window) if kind == "slices" else _of_volumes(done)),
    }
    write_json(out / RECORDS[kind], summary)
    (out / MARKER).unlink()
    return summary


def split_patients(patients: int) -> dict[str, list[int]]:
    """Patient numbers of each split: 70, 15 and 15 %, at least one each.

    Runs of neighbouring numbers: neighbours differ by design (see `patient`), so every run holds a fair mix.
    """
    numbers, few = list(range(patients)), max(1, round(0.15 * patients))
    return {"train": numbers[: -2 * few], "validate": numbers[-2 * few : -few], "test": numbers[-few:]}


def _write(job: PatientJob) -> Written:
    """Make and write one patient, in a process of its own."""
    phantom, hu = make_phantom(job.seed, job.patient), dict[str, float]()
    if job.kind == "slices":
        files, hu = _write_slices(job, phantom)
    elif job.kind == "nifti":
        from train.phantom.nifti import write_volume

        files = write_volume(job.out, phantom)
    else:
        from train.phantom.dicom import write_series

        files = write_series(job.out, phantom)
    classes = [int(labels.max()) for labels in phantom.labels]
    return Written(job=job, files=files, classes=classes, spacing_mm=phantom.grid_mm, phase=phantom.person.phase, hu=hu)


def _write_slices(job: PatientJob, phantom: Phantom) -> tuple[list[str], dict[str, float]]:
    in_hu = InHu()
    names = [slice_name(job.patient, level) for level in range(len(phantom.hu))]
    pictures = window_to_uint8(phantom.hu, job.window_hu)
    for name, grey, hu, labels in zip(names, pictures, phantom.hu, phantom.labels, strict=True):
        write_slice(job.out, job.split, name, grey, labels)
        in_hu.add(grey, hu)
    return [f"{job.split}/{name}" for name in names], in_hu.numbers()


def _of_slices(done: list[Written], window: tuple[float, float]) -> dict[str, Any]:
    return {
        "window_hu": list(window),
        "split_by": "patient",
        "patients": {split: [w.job.patient for w in done if w.job.split == split] for split in SPLITS},
        **joined((str(w.job.patient), w.hu) for w in done),
        "slices_per_class": count_classes((w.job.split, target) for w in done for target in w.classes),
        "note": "Synthetic: no patient's pixels. Slices lie further apart than they are thick.",
    }


def _of_volumes(done: list[Written]) -> dict[str, Any]:
    classes = [target for w in done for target in w.classes]
    return {
        "patients": [w.job.patient for w in done],
        "slices": {str(w.job.patient): len(w.classes) for w in done},
        "slices_per_class": [classes.count(target) for target in range(3)],
        "phase": {str(w.job.patient): w.phase for w in done},
        "note": f"Synthetic: no patient's pixels. {DISCLAIMER}",
    }


def _claim(out: Path, kind: Format) -> None:
    """Take an absent or empty folder, or one that holds phantoms of this format; mark it unfinished."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file.", fix="name a folder")
    if out.is_dir() and any(out.iterdir()) and (held := _held(out)) != kind:
        holds = f"holds phantoms as {held}, not {kind}" if held else "holds no phantoms"
        raise OutputError(f"{out} is not empty and {holds}.", fix="name a new or empty folder")
    write_text(out / MARKER, f"{kind}\nlits-deploy data phantom is writing here, or was cut off: start it again.\n")
    (out / RECORDS[kind]).unlink(missing_ok=True)


def _drop_leftovers(out: Path, wanted: set[str]) -> None:
    """Remove files of an earlier phantom run that this run did not write, and folders so emptied; nothing else."""
    drop_leftovers(out, {(name.partition("/")[0], name.rpartition("/")[2]) for name in wanted})
    for path in sorted(p for pattern in ("*.nii", "volume-*/*.dcm") for p in out.glob(pattern)):
        name = path.relative_to(out).as_posix()
        if _VOLUMES.fullmatch(name) and name not in wanted:
            path.unlink()
            if path.parent != out and not any(path.parent.iterdir()):
                path.parent.rmdir()


def _held(out: Path) -> str | None:
    """The format of the phantoms in a folder, or None where it is not one of this module's."""
    if (out / MARKER).exists():
        return (out / MARKER).read_text(encoding="utf-8").partition("\n")[0]
    for kind, name in RECORDS.items():
        try:
            record = json.loads((out / name).read_text(encoding="utf-8"))
            if record["source"] == "phantom":
                return str(record.get("format", kind))  # slices of earlier versions do not name their format
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
