"""A folder of phantoms on disk: who may write there, the patients in processes, and the record that ends a run.

Every file appears whole or not at all, and the record appears last: a folder with it is complete. While a run is under
way the folder holds a marker, so that a run that was cut off can simply be started again. Nothing is removed but files
of an earlier phantom run. The bytes do not depend on the number of processes. Knows nothing about pixels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lits_deploy.errors import OutputError, UserError
from lits_deploy.files import write_json, write_text
from train.choices import Format
from train.data.slices import LABELS, Progress, drop_leftovers, run_jobs
from train.phantom.anatomy import Phantom

RECORDS: dict[Format, str] = {"slices": "dataset.json", "nifti": "phantom.json", "dicom": "phantom.json"}
SUMMARY = RECORDS["nifti"]
MARKER = ".phantom-unfinished"
_VOLUMES = re.compile(r"(volume|segmentation)-\d+\.nii|volume-\d+/\d{4}\.dcm")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One patient to write below `out`; split and window_hu are of slices."""

    out: Path
    seed: int
    patient: int
    split: str = ""
    window_hu: tuple[float, float] = (-40.0, 160.0)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was written for one patient. files: relative to the folder, with `/`; classes: of each slice."""

    job: Job
    files: tuple[str, ...]
    classes: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    phase: str


def describe(job: Job, phantom: Phantom, files: Sequence[str]) -> Written:
    """What the record needs to know of a patient's files."""
    classes = tuple(int(labels.max()) for labels in phantom.labels)
    return Written(job=job, files=tuple(files), classes=classes, spacing_mm=grid_mm(phantom), phase=phantom.phase)


def grid_mm(phantom: Phantom) -> tuple[float, float, float]:
    """Distance of slices, rows and columns in mm, to 0.1 µm: what DICOM's decimal strings and NIfTI both hold."""
    slices, rows, columns = (round(value, 4) for value in phantom.spacing_mm)
    return slices, rows, columns


def write_patients(
    kind: Format,
    jobs: Sequence[Job],
    write_one: Callable[[Job], Written],
    summarise: Callable[[list[Written]], dict[str, Any]],
    *,
    workers: int | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """Claim the folder, write every patient with `write_one` (a module's function, run in processes), then the record.

    Raises UserError for a negative seed, OutputError where the folder holds something that was not written so.
    """
    out, seed = jobs[0].out, jobs[0].seed
    if seed < 0:
        raise UserError(f"The seed {seed} is negative.", fix="give a seed of 0 or more")
    _claim(out, kind)
    done: list[Written] = []
    for written in run_jobs(write_one, jobs, workers):
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
        **summarise(done),
    }
    write_json(out / RECORDS[kind], summary)
    (out / MARKER).unlink()
    return summary


def count_classes(done: Sequence[Written]) -> list[int]:
    """Slices of class 0, 1 and 2."""
    classes = [target for w in done for target in w.classes]
    return [classes.count(target) for target in range(3)]


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
