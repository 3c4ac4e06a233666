"""Masks of a volume as NIfTI-1 or -2, gzipped: labels 0, 1, 2 as uint8, on the grid of their source.

A mask of a NIfTI file gets the fields of its source's header that say how the voxels lie, as they are, and none of
those that may hold prose. A mask of a DICOM series gets a header of its own.
"""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from lits_deploy.scans.nifti import volume_of
from lits_deploy.segmentation.grid import VolumeGrid, to_ras

_GEOMETRY = (
    *("dim", "pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)
_LABELS = 1002  # NIFTI_INTENT_LABEL

Labels = npt.NDArray[np.uint8]


def like_source(block: bytes, labels: Labels) -> bytes:
    """A file of labels uint8 [x, y, z] on the grid of the file whose header's 348 or 540 bytes are `block`."""
    kind: Any = Nifti1Header if len(block) == 348 else Nifti2Header
    endianness = next(sign for sign in "<>" if np.frombuffer(block[:4], f"{sign}i4")[0] == len(block))
    source = kind(binaryblock=block, endianness=endianness, check=False)
    header = _header(kind)
    for name in _GEOMETRY:
        header[name] = source[name]
    return _packed(header, labels)


def on_grid(grid: VolumeGrid, labels: Labels) -> bytes:
    """A file of labels uint8 [columns, rows, places] on a grid of DICOM slices."""
    header = _header(Nifti1Header)
    header.set_data_shape(labels.shape)
    affine = to_ras(grid.affine)
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    if grid.leans:  # a quaternion cannot say so
        header["qform_code"] = 0
    else:
        header.set_qform(affine, code="scanner")
    return _packed(header, labels)


def shape_of(block: bytes) -> tuple[tuple[int, ...], int]:
    """Shape of the array that a header describes, and the index that runs along its slices. Raises SliceError."""
    volume, _ = volume_of(io.BytesIO(block))
    return volume.shape, volume.axis


def _header(kind: Any) -> Any:
    header = kind()
    header.set_data_dtype(np.uint8)
    header["intent_code"] = _LABELS
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["cal_max"] = 2.0
    return header


def _packed(header: Any, labels: Labels) -> bytes:
    """The file's bytes, the same for the same labels: gzip gets neither name nor time."""
    header["vox_offset"] = len(header.binaryblock) + 4
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=6, mtime=0) as stream:
        stream.write(header.binaryblock + b"\0\0\0\0")  # four zeros: no extensions
        stream.write(np.asfortranarray(labels).T.data)
    return buffer.getvalue()
