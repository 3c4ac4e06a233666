"""Phantoms as NIfTI volumes in LiTS naming, and what NIfTI and DICOM phantoms share.

    OUT/volume-N.nii          int16 HU, uncompressed, as the LiTS archive has them
    OUT/segmentation-N.nii    uint8 labels 0 background, 1 liver, 2 lesion; same grid
    OUT/phantom.json          what was written; there only if everything is

The same seed and patient give the same pixels as `write_slices` does before windowing: the phantom's HU are whole
numbers, so nothing is rounded. Knows nothing about splits: volumes are raw material, `lits-deploy data prepare` makes
a training set of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lits_deploy import DISCLAIMER
from lits_deploy.errors import UserError
from lits_deploy.files import write_bytes
from train.data.slices import Progress
from train.phantom.anatomy import Phantom, make_phantom
from train.phantom.folder import Job, Written, count_classes, describe, grid_mm, write_patients


def write_nifti(
    out: Path, patients: int, seed: int, *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write phantoms 0…patients−1 of `seed` as NIfTI volumes, and return what `phantom.json` holds.

    The bytes do not depend on `workers` (processes; by default one per processor). Raises UserError for impossible
    numbers, OutputError where `out` holds something that this function did not write.
    """
    return write_volumes(out, patients, seed, "nifti", _write_patient, workers=workers, progress=progress)


def write_volumes(
    out: Path,
    patients: int,
    seed: int,
    kind: Literal["nifti", "dicom"],
    write_one: Callable[[Job], Written],
    *,
    workers: int | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """Write whole patients with `write_one`; what `write_nifti` and `write_dicom` share."""
    if patients < 1:
        raise UserError(f"{patients} patients are none.", fix="ask for at least 1 patient")
    jobs = [Job(out=out, seed=seed, patient=number) for number in range(patients)]
    return write_patients(kind, jobs, write_one, _summary, workers=workers, progress=progress)


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


def _write_patient(job: Job) -> Written:
    phantom = make_phantom(job.seed, job.patient)
    mask = write_segmentation(job.out, phantom)  # first: an image without its mask is never seen
    name = f"volume-{job.patient}.nii"
    write_bytes(job.out / name, nifti_bytes(phantom.hu, affine_ras(phantom), "synthetic HU, no patient"))
    return describe(job, phantom, [mask, name])


def _summary(done: list[Written]) -> dict[str, Any]:
    return {
        "patients": [w.job.patient for w in done],
        "slices": {str(w.job.patient): len(w.classes) for w in done},
        "slices_per_class": count_classes(done),
        "phase": {str(w.job.patient): w.phase for w in done},
        "note": f"Synthetic: no patient's pixels. {DISCLAIMER}",
    }
