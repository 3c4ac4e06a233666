"""An abdomen as a function of place, sampled on slices that lie in any way: so it is known where a mask must lie.

Places are DICOM's: mm to the patient's left, back and head. The organ and its lesion differ from the rest by HU alone,
and the network of these tests (`Thresholds`) tells them by the grey values.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom.uid import generate_uid

from fake_runtime import FakeRuntime
from lits_deploy.contract import window_to_uint8
from lits_deploy.runtime.base import Batch, Outputs
from scan_files import ct_dataset, dicom_bytes

Pixels = np.ndarray[Any, Any]

WINDOW = (-160.0, 240.0)
SIZE = 128
"""Of the network's slices, and of most sources: a pixel of the one is a pixel of the other."""

SPACING = 2.0
LIVER_HU, LESION_HU = 90.0, 150.0  # from here on


def hu_at(positions: Pixels) -> Pixels:
    """HU, float64 [...], at positions [..., 3]."""
    x, y, z = (positions[..., axis] for axis in range(3))
    hu = np.full(x.shape, -1000.0)
    body = (x / 105) ** 2 + (y / 80) ** 2 < 1
    texture = np.sin(x / 7 + z / 9) * np.cos(y / 5)
    hu[body] = (85 * texture)[body]
    liver = ((x + 45) / 40) ** 2 + ((y + 8) / (34 + 0.5 * z)) ** 2 < 1  # on the patient's right, larger above
    hu[liver] = (120 + 20 * texture)[liver]
    hu[((x + 55) ** 2 + (y - 2) ** 2 < 11**2) & (abs(z - 5) < 9)] = 200
    hu[(x - 60) ** 2 + (y + 30) ** 2 < 6**2] = 120  # and a spot in front on the left, so that no two turns look alike
    return np.rint(hu)


def labels_at(positions: Pixels) -> Pixels:
    """The labels that the network should give at positions [..., 3]: uint8 [...]."""
    return labels_of(hu_at(positions))


def labels_of(hu: Pixels) -> Pixels:
    """0, 1, 2 by HU."""
    return (hu >= LIVER_HU).astype(np.uint8) + (hu >= LESION_HU)


class Thresholds(FakeRuntime):
    """A U-Net that tells liver and lesion by grey values alone."""

    def _infer(self, batch: Batch) -> Outputs:
        self.batches.append(len(batch))
        return Outputs(labels=picture_labels(batch[:, 0]))


@dataclass(frozen=True, kw_only=True)
class Series:
    """A DICOM series through the abdomen. across, down: directions in which columns and rows rise; step: mm.

    shift: mm that each slice is moved along its rows against the one before (a tilted gantry).
    """

    name: str
    across: Sequence[float] = (1, 0, 0)
    down: Sequence[float] = (0, 1, 0)
    rows: int = SIZE
    columns: int = SIZE
    spacing: float = SPACING
    step: float = 4.0
    count: int = 6
    shift: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)

    def corner(self, number: int) -> Pixels:
        """Place of the first pixel of slice `number`, from 0 upwards."""
        across, down = self.axes
        normal = np.cross(across, down)
        normal *= np.sign(normal[2])
        middle = np.array([0.0, 0.0, 5.0]) + (number - (self.count - 1) / 2) * (self.step * normal + self.shift * down)
        return middle - self.spacing * ((self.columns - 1) / 2 * across + (self.rows - 1) / 2 * down)

    @property
    def axes(self) -> tuple[Pixels, Pixels]:
        """Unit vectors."""
        return tuple(np.array(axis, float) / np.linalg.norm(axis) for axis in (self.across, self.down))  # type: ignore[return-value]

    def positions(self, number: int) -> Pixels:
        """Places of the pixels of a slice, [rows, columns, 3]."""
        across, down = self.axes
        j, i = np.mgrid[: self.rows, : self.columns][..., np.newaxis]
        return self.corner(number) + self.spacing * (i * across + j * down)

    def uid(self, number: int) -> str:
        """SOP Instance UID of a slice."""
        return str(generate_uid(entropy_srcs=[self.name, str(number)]))

    def hu(self, number: int) -> Pixels:
        """HU of a slice, int16 [rows, columns]."""
        return hu_at(self.positions(number)).astype(np.int16)

    def labels(self, number: int) -> Pixels:
        """What the network should say of a slice, on its source."""
        return labels_of(self.hu(number))

    def file(self, number: int, **values: Any) -> bytes:
        """A slice as a DICOM file; instance numbers run against the slices' places."""
        across, down = self.axes
        attributes = {
            "SOPInstanceUID": self.uid(number),
            "StudyInstanceUID": str(generate_uid(entropy_srcs=[self.name, "study"])),
            "SeriesInstanceUID": str(generate_uid(entropy_srcs=[self.name, "series"])),
            "FrameOfReferenceUID": str(generate_uid(entropy_srcs=[self.name, "frame"])),
            "InstanceNumber": self.count - number,
            "PixelSpacing": [f"{self.spacing:.6f}"] * 2,
            "SliceThickness": f"{self.step:g}",
            "ImageOrientationPatient": [f"{value:.10f}"[:16] for value in (*across, *down)],
            "ImagePositionPatient": [f"{value:.10f}"[:16] for value in self.corner(number)],
            "PatientName": "Müller^Änne",
            "PatientBirthDate": "19510203",
            "PatientSex": "F",
            "SpecificCharacterSet": "ISO_IR 100",
            "StudyDate": "20200102",
            "StudyTime": "101112",
            "StudyID": "S1",
            "ReferringPhysicianName": "Secret^Physician",
            "InstitutionName": "Secret Hospital",
            "PatientComments": "Secret",
            "StudyDescription": "Secret",
            **self.values,
            **values,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that the standard would not have
            return dicom_bytes(ct_dataset(self.hu(number), **attributes))

    def write(self, folder: Path, *, without: Sequence[int] = ()) -> Path:
        """The series as files; names in no order that means anything."""
        target = folder / self.name
        target.mkdir(parents=True)
        for number in range(self.count):
            if number not in without:
                (target / f"IM{(number * 5 + 3) % 97:03d}").write_bytes(self.file(number))
        return target


def rotated_about(axis: int, degrees: float) -> Pixels:
    """A rotation matrix about x, y or z."""
    a = np.radians(degrees)
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(a)
    matrix[first, second], matrix[second, first] = -np.sin(a), np.sin(a)
    return matrix


_OBLIQUE = rotated_about(0, 8) @ rotated_about(2, 5) @ rotated_about(1, -3)
SERIES = (
    Series(name="head-first"),
    Series(name="flipped", down=(0, -1, 0)),
    Series(name="feet-first", across=(-1, 0, 0)),
    Series(name="upside-down", across=(-1, 0, 0), down=(0, -1, 0)),
    Series(name="lying", across=(0, 1, 0), down=(-1, 0, 0)),
    Series(name="oblique", across=tuple(_OBLIQUE[:, 0]), down=tuple(_OBLIQUE[:, 1]), rows=110),
    Series(name="oblique-flipped", across=tuple(-_OBLIQUE[:, 0]), down=tuple(_OBLIQUE[:, 1]), columns=115),
    Series(name="gantry", shift=0.7),
)
"""Series that lie in all the ways that matter."""


def volume(axes: str, shape: Sequence[int], *, step: float = 4.0, kind: Any = nib.Nifti1Image) -> Any:
    """A NIfTI image of the abdomen whose array's axes rise along these directions, such as `RAS` or `SPL`.

    shape: of the array. The axis along the body has `step` mm, the others SPACING.
    """
    columns = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    affine = np.eye(4)
    for axis, letter in enumerate(axes):
        affine[:3, axis] = np.array(columns[letter]) * (step if letter in "SI" else SPACING)
    affine[:3, 3] = np.array([0.0, 0.0, 5.0]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    image = kind(hu_at(lps_positions(affine, shape)).astype(np.int16), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"Secret"
    return image


def lps_positions(affine: Pixels, shape: Sequence[int]) -> Pixels:
    """Places, in DICOM's axes, of all voxels of a NIfTI array: [*shape, 3]."""
    index = np.stack(np.meshgrid(*map(np.arange, shape[:3]), indexing="ij"), axis=-1)
    return nib.affines.apply_affine(affine, index) * (-1, -1, 1)


def picture(number: int, side: int = SIZE) -> Pixels:
    """A slice as an 8-bit picture that stands, uint8 [side, side]; of a multiple of SIZE pixels: each repeated."""
    small = SERIES[0].hu(number)
    grey = window_to_uint8(small, WINDOW)
    return np.kron(grey, np.ones((side // SIZE, side // SIZE), np.uint8))


def picture_labels(grey: Pixels) -> Pixels:
    """What the network should say of a picture."""
    low, high = ((value - WINDOW[0]) * 255 / (WINDOW[1] - WINDOW[0]) for value in (LIVER_HU, LESION_HU))
    return (grey >= low).astype(np.uint8) + (grey >= high)
