"""Phantoms as NIfTI volumes in LiTS naming; DICOM phantoms have their masks so, too.

    OUT/volume-N.nii          int16 HU, uncompressed, as the LiTS archive has them
    OUT/segmentation-N.nii    uint8 labels 0 background, 1 liver, 2 lesion; same grid

The same seed and patient give the same pixels as slices do before windowing: the phantom's HU are whole numbers, so
nothing is rounded. Knows nothing about splits: `lits-deploy data prepare` makes a training set of volumes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image

from lits_deploy.files import write_bytes
from train.phantom.anatomy import Phantom

_image: Any = Nifti1Image  # nibabel's types are partial


def affine_ras(phantom: Phantom) -> npt.NDArray[np.float64]:
    """Voxel index (column, row, slice) to mm right, anterior, superior, float64 [4, 4].

    Columns run to the patient's left and rows to the back, so both have a minus sign. The middle of the first, most
    caudal, slice is the origin.
    """
    slices, rows, columns = phantom.grid_mm
    _, height, width = phantom.hu.shape
    affine = np.diag([-columns, -rows, slices, 1.0])
    affine[:2, 3] = (width - 1) / 2 * columns, (height - 1) / 2 * rows
    return affine


def _write(path: Path, voxels: npt.NDArray[Any], phantom: Phantom, description: str) -> str:
    """An uncompressed NIfTI-1 file of slices [Z, row, column]; mm, no scaling, qform and sform both set. Its name."""
    affine = affine_ras(phantom)
    image = _image(np.ascontiguousarray(voxels.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode("ascii")
    image.set_qform(affine, code="scanner")
    image.set_sform(affine, code="scanner")
    write_bytes(path, bytes(image.to_bytes()))
    return path.name


def write_segmentation(out: Path, phantom: Phantom) -> str:
    """Write `segmentation-N.nii` of a phantom and return its name."""
    return _write(out / f"segmentation-{phantom.patient}.nii", phantom.labels, phantom, "synthetic labels")


def write_volume(out: Path, phantom: Phantom) -> list[str]:
    """Write a phantom's segmentation and volume, and return their names."""
    mask = write_segmentation(out, phantom)  # first: an image without its mask is never seen
    return [mask, _write(out / f"volume-{phantom.patient}.nii", phantom.hu, phantom, "synthetic HU, no patient")]
