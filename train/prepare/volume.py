"""A pair of NIfTI files as slices that lie as a radiologist looks at them; one slice in memory as float at a time.

Image and mask are paired voxel by voxel, whatever their headers say: in two fifths of LiTS the affines disagree while
the arrays match (Bilic et al., arXiv 1901.04056, and audits of the training set). Nothing is resampled in 3D. Slices
are numbered from the most caudal one (by the header) as 0; where the header says nothing, in the file's order.

A header that claims nothing (an identity affine, as LiTS 28–47 have, no affine code, a singular one) is replaced by
the convention that the array lies like LiTS volume 0: first axis to the patient's left, second to the front, third to
the head. The pixels may then decide otherwise (`orientation`). Their spacing is taken as unknown where it says 1×1×1.
Knows nothing about windows and splits.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.errors import SliceError
from train.data.labels import LabelsError, Meaning

ASSUMED_AXES = ("L", "A", "S")

MOST_VOXELS = 1 << 31
"""2,048 slices of 1024×1024: a header that claims more is broken."""

AIR_HU, DENSEST_HU = -1024.0, 3071.0


class LabelledVolume:
    """A volume and its labels.

    meaning: what the values of the segmentation mean (`train.data.labels`); None: they are labels.
    count: slices. side: rows and columns of a slice, which is square.
    axes: the header's axis codes such as LAS, or None where it claims nothing.
    spacing_mm: distance of slices, rows and columns, or None where it is unknown.
    notes: what is odd about it. Raises SliceError, whose text is the reason of a failed patient.
    """

    def __init__(self, image: Path, mask: Path, meaning: Meaning | None = None) -> None:
        self._meaning = [(label, label) for label in range(3)]
        if meaning is not None:
            self._meaning = [(int(value), label) for value, label in meaning]
        self._declared = meaning is not None
        self.notes: list[str] = []
        self.not_finite = 0
        loaded, self._hu = _open(image, "the volume")
        loaded_mask, self._labels = _open(mask, "the segmentation")
        if self._hu.shape != self._labels.shape:
            raise SliceError(f"volume {_by(self._hu.shape)} and segmentation {_by(self._labels.shape)} differ in shape")
        self._scale, self._mask_scale = _scale(loaded), _scale(loaded_mask)
        if not np.allclose(loaded.affine, loaded_mask.affine, atol=1e-3, equal_nan=True):
            self.notes.append("the affines of image and mask disagree: paired voxel by voxel")
        ornt = self._orient(loaded)
        apply = _orientations().apply_orientation
        self._hu, self._labels = apply(self._hu, ornt), apply(self._labels, ornt)
        columns, rows, self.count = self._hu.shape
        if rows != columns:
            raise SliceError(f"slices of {columns}×{rows} pixels: not square")
        self.side = rows
        self._caudal_first = bool(ornt[ornt[:, 0] == 2, 1][0] > 0)

    def _orient(self, image: Any) -> npt.NDArray[np.float64]:
        """How the array becomes RAS+, as nibabel writes it; sets `axes` and `spacing_mm`."""
        nibabel = _orientations()
        zooms = [float(step) for step in image.header.get_zooms()[:3]]
        if claims_nothing(image):
            self.axes = None
            ornt = np.asarray(nibabel.axcodes2ornt(ASSUMED_AXES))
            known = not np.allclose(zooms, 1.0)
        else:
            self.axes = "".join(nibabel.aff2axcodes(image.affine))
            ornt = np.asarray(nibabel.io_orientation(image.affine))
            zooms = np.sqrt((np.asarray(image.affine)[:3, :3] ** 2).sum(axis=0)).tolist()
            known = True
        known = known and all(np.isfinite(step) and step > 0 for step in zooms)
        order = [ornt[:, 0].tolist().index(axis) for axis in (2, 1, 0)]
        self.spacing_mm: tuple[float, float, float] | None = None
        if known:
            self.spacing_mm = (zooms[order[0]], zooms[order[1]], zooms[order[2]])
        return ornt

    def index(self, level: int) -> int:
        """Index of slice `level` along that axis of the file's array that runs along the body."""
        return level if self._caudal_first else self.count - 1 - level

    def hu(self, level: int) -> npt.NDArray[np.float32]:
        """A slice in HU, float32 [side, side]: front up, patient's right on the left. NaN counts as air."""
        slope, intercept = self._scale
        hu = self._hu[::-1, ::-1, level].T.astype(np.float32)
        if (slope, intercept) != (1.0, 0.0):
            hu = hu * np.float32(slope) + np.float32(intercept)
        if not (finite := np.isfinite(hu)).all():
            self.not_finite += int((~finite).sum())
            hu = np.nan_to_num(hu, nan=AIR_HU, posinf=DENSEST_HU, neginf=AIR_HU)
        return hu

    def labels(self, level: int) -> npt.NDArray[np.uint8]:
        """Labels of a slice, uint8 [side, side]; LabelsError for a value that is none, or that has no meaning."""
        slope, intercept = self._mask_scale
        values = self._labels[::-1, ::-1, level].T
        if (slope, intercept) != (1.0, 0.0):
            values = values * slope + intercept
        labels: npt.NDArray[np.uint8] = np.zeros(values.shape, np.uint8)
        unknown = np.ones(values.shape, np.bool_)
        for value, label in self._meaning:
            labels[here := values == value] = label
            unknown &= ~here
        if unknown.any():
            strange = (f"{value:g}" for value in np.unique(values[unknown])[:5])
            raise SliceError(f"the segmentation holds {LabelsError(strange, known=self._declared)}")
        return labels


def claims_nothing(image: Any) -> bool:
    """Whether a NIfTI image's header tells no orientation: identity, no affine code, not finite or singular."""
    affine = np.asarray(image.affine)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        return True
    header = image.header
    coded = "sform_code" not in header or int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    return not coded or bool(np.allclose(affine, np.eye(4)))


def _orientations() -> Any:
    import nibabel.orientations

    return nibabel.orientations


def _open(path: Path, what: str) -> tuple[Any, npt.NDArray[Any]]:
    """The image and its stored values, three axes, unscaled; an uncompressed file stays on disk."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError, HeaderTypeError

    try:
        image: Any = nibabel.load(path)
        shape = tuple(int(length) for length in image.shape)
        if 0 in shape or np.prod(shape, dtype=float) > MOST_VOXELS:
            raise SliceError(f"{what} claims {_by(shape)} voxels")
        values = np.asanyarray(image.dataobj.get_unscaled())
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError, HeaderDataError, HeaderTypeError) as error:
        kind = "is truncated or damaged" if not isinstance(error, ImageFileError) else "is no NIfTI file"
        raise SliceError(f"{what} {kind}") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise SliceError(f"{what} has {values.ndim} axes ({_by(values.shape)}), not 3")
    if values.dtype.kind not in "iuf":
        raise SliceError(f"{what} holds colours or complex numbers, not one value a voxel")
    return image, values


def _scale(image: Any) -> tuple[float, float]:
    return float(image.dataobj.slope), float(image.dataobj.inter)


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(str(length) for length in shape)
