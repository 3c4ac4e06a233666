"""Phantoms as NIfTI volumes in LiTS naming, and the folder rules that NIfTI and DICOM phantoms share.

    OUT/volume-N.nii          int16 HU, uncompressed, as the LiTS archive has them
    OUT/segmentation-N.nii    uint8 labels 0 background, 1 liver, 2 lesion; same grid
    OUT/phantom.json          what was written; there only if everything is

The same seed and patient give the same pixels as `write_slices` does before windowing: the phantom's HU are whole
numbers, so nothing is rounded. Every file appears whole or not at all, `phantom.json` appears last, and while a run is
under way the folder holds a marker, so that a run that was cut off can simply be started again. Knows nothing about
splits: volumes are raw material, `lits-deploy data prepare` makes a training set of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lits_deploy import DISCLAIMER
from lits_deploy.errors import OutputError, UserError
from lits_deploy.files import write_bytes, write_json, write_text
from train.data.slices import LABELS, Progress, run_jobs
from train.phantom.anatomy import Phantom, make_phantom

Format = Literal["nifti", "dicom"]
SUMMARY = "phantom.json"
MARKER = ".phantom-volumes-unfinished"
_OURS = re.compile(r"(volume|segmentation)-\d+\.nii|volume-\d+/\d{4}\.dcm")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One patient to write below `out`."""

    out: Path
    seed: int
    patient: int


@dataclass(frozen=True, kw_only=True)
class WrittenVolume:
    """What was written for one patient. files: relative to the folder, with `/`; classes: of each slice."""

    patient: int
    files: tuple[str, ...]
    classes: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    phase: str


def write_nifti(
    out: Path, patients: int, seed: int, *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write phantoms 0…patients−1 of `seed` as NIfTI volumes, and return what `phantom.json` holds.

    The bytes do not depend on `workers` (processes; by default one per processor). Raises UserError for impossible
    numbers, OutputError where `out` holds something that this function did not write.
    """
    return write_volumes(out, patients, seed, "nifti", _write_patient, workers=workers, progress=progress)


def grid_mm(phantom: Phantom) -> tuple[float, float, float]:
    """Distance of slices, rows and columns in mm, to 0.1 µm: what DICOM's decimal strings and NIfTI both hold."""
    slices, rows, columns = (round(value, 4) for value in phantom.spacing_mm)
    return slices, rows, columns


def affine_ras(phantom: Phantom) -> npt.NDArray[np.float64]:
    """Voxel index (column, row, slice) to mm right, anterior, superior, float64 [4, 4].

    Columns run to the patient's left and rows to the back, so both have a minus sign. The middle of the first, most
    caudal, slice is the origin.
    """
    slices, rows, columns = grid_mm(phantom)
    _, height, width = phantom.hu.shape
    affine = np.diag([-columns, -rows, slices, 1.0])
    affine[:2, 3] = (width - 1) / 2 * columns, (height - 1) / 2 * rows
    return affine


def nifti_bytes(voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64], description: str) -> bytes:
    """An uncompressed NIfTI-1 file of slices [Z, row, column]; mm, no scaling, qform and sform both set."""
    from nibabel import nifti1

    make: Any = nifti1.Nifti1Image  # nibabel's types are partial
    image = make(np.ascontiguousarray(voxels.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode("ascii")
    image.set_qform(affine, code="scanner")
    image.set_sform(affine, code="scanner")
    return bytes(image.to_bytes())


def write_segmentation(out: Path, phantom: Phantom) -> str:
    """Write `segmentation-N.nii` of a phantom and return its name."""
    name = f"segmentation-{phantom.patient}.nii"
    write_bytes(out / name, nifti_bytes(phantom.labels, affine_ras(phantom), "synthetic labels"))
    return name


def _write_patient(job: Job) -> WrittenVolume:
    phantom = make_phantom(job.seed, job.patient)
    mask = write_segmentation(job.out, phantom)  # first: an image without its mask is never seen
    name = f"volume-{job.patient}.nii"
    write_bytes(job.out / name, nifti_bytes(phantom.hu, affine_ras(phantom), "synthetic HU, no patient"))
    return describe_patient(phantom, (mask, name))


def describe_patient(phantom: Phantom, files: tuple[str, ...]) -> WrittenVolume:
    """What the summary needs to know of a patient's files."""
    return WrittenVolume(
        patient=phantom.patient,
        files=files,
        classes=tuple(int(labels.max()) for labels in phantom.labels),
        spacing_mm=grid_mm(phantom),
        phase=phantom.phase,
    )


def write_volumes(
    out: Path,
    patients: int,
    seed: int,
    kind: Format,
    write_one: Callable[[Job], WrittenVolume],
    *,
    workers: int | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """Claim `out`, write every patient with `write_one` (a module's function, run in processes), then the summary."""
    if patients < 1:
        raise UserError(f"{patients} patients are none.", fix="ask for at least 1 patient")
    if seed < 0:
        raise UserError(f"The seed {seed} is negative.", fix="give a seed of 0 or more")
    _claim(out, kind)
    jobs = [Job(out=out, seed=seed, patient=number) for number in range(patients)]
    done: list[WrittenVolume] = []
    for written in run_jobs(write_one, jobs, workers):
        done.append(written)
        if progress is not None:
            progress(len(done), len(jobs))
    done.sort(key=lambda w: w.patient)
    _drop_leftovers(out, {file for w in done for file in w.files})
    summary = {
        "source": "phantom",
        "synthetic": True,
        "format": kind,
        "seed": seed,
        "patients": [w.patient for w in done],
        "slices": {str(w.patient): len(w.classes) for w in done},
        "slices_per_class": np.bincount([c for w in done for c in w.classes], minlength=3).tolist(),
        "spacing_mm": {str(w.patient): list(w.spacing_mm) for w in done},
        "phase": {str(w.patient): w.phase for w in done},
        "labels": LABELS,
        "note": f"Synthetic: no patient's pixels. {DISCLAIMER}",
    }
    write_json(out / SUMMARY, summary)
    (out / MARKER).unlink()
    return summary


def _claim(out: Path, kind: Format) -> None:
    """Take an absent or empty folder, or one that holds phantoms of this format; mark it unfinished."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file.", fix="name a folder")
    if out.is_dir() and any(out.iterdir()):
        held = _held(out)
        if held is None:
            raise OutputError(f"{out} is not empty and holds no phantom volumes.", fix="name a new or empty folder")
        if held != kind:
            raise OutputError(f"{out} holds phantoms as {held}, not {kind}.", fix="name a new or empty folder")
    write_text(out / MARKER, f"{kind}\nlits-deploy data phantom is writing here, or was cut off: start it again.\n")
    (out / SUMMARY).unlink(missing_ok=True)


def _held(out: Path) -> str | None:
    """The format of the phantoms in a folder, or None where it is not one of this module's."""
    try:
        if (out / MARKER).exists():
            return (out / MARKER).read_text(encoding="utf-8").partition("\n")[0]
        summary = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
        return str(summary["format"]) if summary["source"] == "phantom" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _drop_leftovers(out: Path, wanted: set[str]) -> None:
    """Remove files of an earlier phantom run that this run did not write, and folders so emptied; nothing else."""
    for path in sorted(p for pattern in ("*.nii", "volume-*/*.dcm") for p in out.glob(pattern)):
        name = path.relative_to(out).as_posix()
        if _OURS.fullmatch(name) and name not in wanted:
            path.unlink()
            if path.parent != out and not any(path.parent.iterdir()):
                path.parent.rmdir()
