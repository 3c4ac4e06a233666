"""Small raw sources as the four layouts of `data prepare` have them, made from phantoms or from given arrays.

Pictures and volumes are given as they should be displayed: [Z, rows, columns], front up, patient's right on the left,
slice 0 the most caudal.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.orientations import axcodes2ornt, ornt_transform
from PIL import Image

from lits_deploy.contract import window_to_uint8
from train.phantom import make_phantom

WINDOW = (-40.0, 160.0)


@dataclass(frozen=True)
class Patient:
    """hu: int16 [Z, n, n]; labels: uint8 [Z, n, n]; spacing of slices, rows, columns in mm."""

    number: int
    hu: npt.NDArray[Any]
    labels: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float, float] = (5.0, 0.8, 0.8)


@cache
def phantom_patient(number: int, slices: int = 6) -> Patient:
    """A phantom of a few slices, made once a process."""
    phantom = make_phantom(11, number, slices=slices)
    return Patient(number, phantom.hu, phantom.labels, phantom.person.frame.spacing_mm)


def noise_patient(number: int, *, size: int = 256, slices: int = 4, seed: int = 0) -> Patient:
    """Voxels that look like no body but tell every slice and corner apart; classes 0, 1, 2 in turn."""
    rng = np.random.default_rng([seed, number])
    hu = rng.integers(-900, 400, (slices, size, size)).astype(np.int16)
    labels = np.zeros((slices, size, size), np.uint8)
    labels[1::3, 20:60, 30:90] = labels[2::3, 20:60, 30:90] = 1
    labels[2::3, 41, 51] = 2  # one pixel: must survive shrinking
    return Patient(number, hu, labels)


def as_stored(displayed: npt.NDArray[Any], axes: str = "RAS") -> npt.NDArray[Any]:
    """Displayed slices [Z, rows, columns] as a NIfTI array whose axes run to `axes`."""
    ras = np.transpose(displayed[:, ::-1, ::-1], (2, 1, 0))
    change = ornt_transform(axcodes2ornt(("R", "A", "S")), axcodes2ornt(tuple(axes)))
    return np.ascontiguousarray(nibabel.orientations.apply_orientation(ras, change))


def affine_of(axes: str, spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    """The affine of an array whose axes run to `axes`; spacing of slices, rows, columns."""
    step = dict(zip("SAR", spacing_mm, strict=True))
    pairs = {"L": ("R", 0), "R": ("R", 0), "P": ("A", 1), "A": ("A", 1), "I": ("S", 2), "S": ("S", 2)}
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    for column, code in enumerate(axes):
        name, row = pairs[code]
        affine[row, column] = step[name] if code == name else -step[name]
    affine[:3, 3] = (-10.0, 20.0, 30.0)
    return affine


def save_nifti(path: Path, array: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> None:
    """Write an array as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(array, affine).to_filename(path)


def write_lits(
    root: Path,
    patients: Iterable[Patient],
    *,
    axes: str = "LAS",
    folder: str = "Training Batch 1",
    suffix: str = ".nii",
) -> Path:
    """Volumes and segmentations in LiTS naming below `root`/`folder`."""
    for patient in patients:
        affine = affine_of(axes, patient.spacing_mm)
        for name, values in (("volume", patient.hu), ("segmentation", patient.labels)):
            save_nifti(root / folder / f"{name}-{patient.number}{suffix}", as_stored(values, axes), affine)
    return root


def write_msd(root: Path, patients: Iterable[Patient], *, axes: str = "RAS") -> Path:
    """MSD Task03_Liver with its litter: macOS files, a test set without labels, a dataset.json."""
    task = root / "Task03_Liver"
    for patient in patients:
        affine = affine_of(axes, patient.spacing_mm)
        for folder, values in (("imagesTr", patient.hu), ("labelsTr", patient.labels)):
            save_nifti(task / folder / f"liver_{patient.number}.nii.gz", as_stored(values, axes), affine)
            (task / folder / f"._liver_{patient.number}.nii.gz").write_bytes(b"\0\5\26\7 not a volume")
    (task / "imagesTs").mkdir()
    (task / "imagesTs" / "liver_900.nii.gz").write_bytes(b"never opened")
    (task / "dataset.json").write_text('{"name": "Liver", "window_hu": "nonsense"}')
    return root


def write_png(
    root: Path,
    patients: Iterable[Patient],
    *,
    on: Mapping[int, int] | int = 1,
    numbers: Sequence[int] | None = None,
    flags: str = "inverted",
) -> Path:
    """The Kaggle copy. on: value of a mask's pixels, per patient; numbers: slice numbers; flags: of lits_df.csv."""
    folder = root / "dataset_6"
    folder.mkdir(parents=True)
    rows = []
    for patient in patients:
        value = on if isinstance(on, int) else on[patient.number]
        grey = window_to_uint8(patient.hu, WINDOW)
        for level, labels in enumerate(patient.labels):
            number = numbers[level] if numbers else level
            liver, lesion = labels > 0, labels == 2
            save_png(folder / f"volume-{patient.number}_{number}.png", grey[level])
            for name, mask in (("livermask", liver), ("lesionmask", lesion)):
                save_png(folder / f"segmentation-{patient.number}_{name}_{number}.png", mask.astype(np.uint8) * value)
            true = (flags == "inverted", flags != "inverted")  # what stands there for a mask with and without pixels
            rows.append(
                {
                    "filepath": f"../input/lits-png/dataset_6/volume-{patient.number}_{number}.png",
                    "study_number": patient.number,
                    "instance_number": number % 256,
                    "liver_mask_empty": true[not liver.any()],
                    "tumor_mask_empty": true[not lesion.any()],
                }
            )
    for name in ("lits_df.csv", "lits_probe.csv"):
        with (root / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return root


def write_masks(root: Path, patients: Iterable[Patient], *, split: str = "") -> Path:
    """Plain folders images/ and masks/, or those of one split."""
    for patient in patients:
        grey = window_to_uint8(patient.hu, WINDOW)
        for level, labels in enumerate(patient.labels):
            name = f"volume-{patient.number:03d}_{level:04d}.png"
            save_png(root / split / "images" / name, grey[level])
            save_png(root / split / "masks" / name, labels)
    return root


def save_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write 8-bit pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def load_png(path: Path) -> npt.NDArray[np.uint8]:
    """Read 8-bit pixels."""
    with Image.open(path) as picture:
        return np.asarray(picture)
