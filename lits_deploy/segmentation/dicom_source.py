"""A DICOM file's kept elements (`headers.dicom`) as a data set again, and where its frames lie."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from lits_deploy.scans.dicom.header import FRAME_GROUPS, SHARED_GROUPS, Groups, items, number, numbers
from lits_deploy.segmentation.grid import Plane

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def dataset_of(data: bytes) -> Dataset:
    """The data set that `headers.dicom` wrote."""
    from pydicom.filereader import read_dataset

    return read_dataset(io.BytesIO(data), False, True)


def plane_of(dataset: Dataset, index: int) -> Plane | str:
    """Where frame `index` of a file lies, or what its header does not say."""
    own = items(dataset, FRAME_GROUPS)
    groups = Groups(own[index : index + 1] + items(dataset, SHARED_GROUPS)[:1], dataset)
    directions = numbers(
        groups.holding("PlaneOrientationSequence", "ImageOrientationPatient"), "ImageOrientationPatient", 6
    )
    position = numbers(groups.holding("PlanePositionSequence", "ImagePositionPatient"), "ImagePositionPatient", 3)
    measures = groups.holding("PixelMeasuresSequence", "PixelSpacing")
    spacing = numbers(measures, "PixelSpacing", 2)
    if directions is None or position is None:
        return "the header does not say where the slice lies"
    if spacing is None or min(spacing) <= 0:
        return "the header does not say how large a pixel is"
    thickness = number(measures, "SliceThickness")
    return Plane(
        position=position,
        along_columns=directions[:3],
        along_rows=directions[3:],
        spacing=spacing,
        thickness=thickness if thickness and thickness > 0 else None,
    )
