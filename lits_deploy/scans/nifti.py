"""NIfTI volumes, `.nii` and `.nii.gz`: each axial slice in HU → the network's input.

nibabel reads the header (NIfTI-1 and -2, both byte orders). Voxels are taken here, slice by slice as they lie in the
file, so that memory does not grow with the volume and a gzip bomb ends where the header's own size does; only a volume
whose axial axis is not the slowest is inflated whole, up to MOST_WHOLE.
A NIfTI header names no modality: what is no CT in HU (masks, label maps, MR) is found by `scans.gates`. Where it does
not say how the voxels lie (no form code, or the unit matrix, as in LiTS volumes 28 to 47) the slices are excluded: an
abdomen turned by 180° looks like one, and a network answers it all the same. `lits-deploy data prepare` tells by the
pixels, with a liver mask. Where qform and sform both say it and disagree, the slices are excluded unless the user says
which of the two to trust (`scans.Reading`).
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from lits_deploy.contract import InputContract
from lits_deploy.errors import SliceError
from lits_deploy.files import sha256_bytes
from lits_deploy.scans import READING, Frame, Reading, Scan, SeriesHeader
from lits_deploy.scans.gates import geometry_doubt
from lits_deploy.scans.hounsfield import Rescale, check_window, finish, window_text
from lits_deploy.scans.orient import Orientation, orientation_of
from lits_deploy.series.facts import Geometry, SliceHeader

MAX_BYTES = 800 << 20
"""A thousand slices of 512×512 int16 are 500 MiB; LiTS has none larger."""

MOST_WHOLE = 512 << 20
"""Bytes of an inflated volume that is held in memory, where its slices do not lie one after the other."""

MOST_SIDE, MOST_SLICES = 4096, 20_000
MOST_EXTENSIONS = 64 << 20
_DEFLATE_RATIO = 1040  # deflate's best is 1032 to one
_AFTER = 1 << 20  # bytes behind the voxels of a gzip file that are read to reach its checksum
_GZIP = b"\x1f\x8b"
_SIZES: dict[int, Any] = {348: Nifti1Header, 540: Nifti2Header}
_MM = {1: 1000.0, 3: 0.001}  # units of length other than mm: metre, micrometre

MOST_ANGLE_DEG, MOST_STRETCH = 2.0, 0.01
"""By how much an axis of the qform may be turned against the same axis of the sform, and differ in length as a share. A
quaternion in float32 is exact to 0.05° and does not lean, so a gantry's tilt shows in the sform alone."""


@dataclass(frozen=True, kw_only=True)
class NiftiVolume:
    """shape: of the array, first index fastest. axis: index that runs along the slices. offset: of the first voxel.

    orientation: of a slice whose columns run along the lower of the two other indices, or None. spacing_mm: between
    rows and between columns; step_mm: between slices. positions: mm along the normal, of the first slice and per slice,
    or None. doubt: why the header's orientation cannot be believed, or None.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    rescale: Rescale
    axis: int
    orientation: Orientation | None
    spacing_mm: tuple[float, float] | None
    step_mm: float | None
    positions: tuple[float, float] | None
    doubt: str | None = None

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        columns, rows = (side for index, side in enumerate(self.shape) if index != self.axis)
        return rows, columns

    @property
    def bytes(self) -> int:
        """Of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


def read(data: bytes, contract: InputContract, *, headers_only: bool = False, reading: Reading = READING) -> Scan:
    """Understand a NIfTI file (`scans.Reader`)."""
    packed = data.startswith(_GZIP)
    stream: BinaryIO = gzip.GzipFile(fileobj=io.BytesIO(data)) if packed else io.BytesIO(data)  # type: ignore[assignment]
    volume, block = volume_of(stream, reading)
    series = _series(volume, f"{sha256_bytes(block)[:16]}-{zlib.crc32(data):08x}")
    doubt = volume.doubt or geometry_doubt(
        *volume.matrix, volume.spacing_mm, volume.step_mm, volume.orientation, contract
    )
    try:
        _check_size(volume, len(data), packed)
    except SliceError as error:
        raise SliceError(str(error), series=series) from None
    frames: Iterator[Frame]
    if headers_only or doubt is not None:
        frames = (_frame(volume, index, excluded=doubt) for index in range(volume.shape[volume.axis]))
    else:
        slices = _streamed(stream, volume, packed) if volume.axis == 2 else _strided(data, stream, volume, packed)
        frames = _checked(slices, volume, series, contract)
    return Scan(series=series, window=window_text(contract), frames=frames)


def _checked(
    slices: Iterator[npt.NDArray[Any]], volume: NiftiVolume, series: SeriesHeader, contract: InputContract
) -> Iterator[Frame]:
    try:
        check_window(contract)
        for index, stored in enumerate(slices):
            pixels, doubt = finish(stored, volume.rescale, series.geometry.reorientation, contract)
            yield _frame(volume, index, pixels=pixels, excluded=doubt, in_hu=volume.rescale.look(stored))
    except SliceError as error:
        raise SliceError(str(error), series=series) from error


def _frame(volume: NiftiVolume, index: int, **what: Any) -> Frame:
    first, step = volume.positions or (0.0, 0.0)
    position = None if volume.positions is None else round(first + index * step, 3)
    return Frame(index=index, header=SliceHeader(position=position, number=index), **what)


def volume_of(stream: BinaryIO, reading: Reading = READING) -> tuple[NiftiVolume, bytes]:
    """The volume that the header at the start of a stream describes, and the header's bytes. Raises SliceError."""
    start = _take(stream, 4)
    for endian in "<>":
        (size,) = struct.unpack(f"{endian}i", start)
        if size in _SIZES:
            break
    else:
        raise SliceError("not a NIfTI file")
    block = start + _take(stream, size - 4)
    magic = block[344:348] if size == 348 else block[4:12]
    if magic not in (b"n+1\0", b"n+2\0\r\n\x1a\n"):
        raise SliceError("not a NIfTI file, or its voxels lie in another one")
    try:
        header = _SIZES[size](binaryblock=block, endianness=endian, check=False)
        return _volume(header, size, reading), block
    except SliceError:
        raise
    except Exception as error:  # nibabel raises its own errors, and numpy's, on nonsense
        raise SliceError("the NIfTI header is damaged") from error


def _volume(header: Any, size: int, reading: Reading) -> NiftiVolume:
    dims = [int(value) for value in header["dim"]]
    if not 1 <= dims[0] <= 7:
        raise SliceError("the NIfTI header is damaged")
    shape = dims[1 : dims[0] + 1]
    if len(shape) < 3 or any(side != 1 for side in shape[3:]):
        raise SliceError(f"{len(shape)} dimensions: only volumes of three are read")
    columns, rows, slices = shape[:3]
    dtype = np.dtype(header.get_data_dtype())
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise SliceError("voxels of a type that no CT has (colour, complex or extended)")
    slope, intercept = header.get_slope_inter()
    affine, doubt = _affine(header, reading)
    axis = 2 if affine is None else _axial_axis(affine)
    if min(columns, rows, slices) < 1 or max(columns, rows, slices) > MOST_SLICES:
        raise SliceError(f"{columns}×{rows}×{slices} voxels: no CT volume")
    if max(side for index, side in enumerate((columns, rows, slices)) if index != axis) > MOST_SIDE:
        raise SliceError(f"{columns}×{rows}×{slices} voxels: more than any slice has")
    offset = int(float(header["vox_offset"])) or size + 4
    if not size <= offset <= MOST_EXTENSIONS:
        raise SliceError("the NIfTI header is damaged: its voxels start nowhere")
    rescale = Rescale(
        slope=1.0 if slope is None else float(slope), intercept=0.0 if intercept is None else float(intercept)
    )
    return NiftiVolume(
        shape=(columns, rows, slices),
        dtype=dtype,
        offset=offset,
        rescale=rescale,
        axis=axis,
        doubt=doubt,
        **_geometry(header, affine, axis),
    )


def _affine(header: Any, reading: Reading) -> tuple[npt.NDArray[np.float64] | None, str | None]:
    """Voxel index → DICOM's axes in mm, float64 [3, 4], or None where the header does not say how the voxels lie; and
    why it cannot be believed, or None."""
    forms = _forms(header)
    doubt = None
    if len(forms) == 2 and reading.trust is None:
        doubt = _disagreement(forms["sform"], forms["qform"])
    affine = forms.get(reading.trust or "sform", next(iter(forms.values()), None))
    if affine is None:
        return None, None
    scale = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    return np.diag([-1.0, -1.0, 1.0]) @ affine[:3] * scale, doubt


def _forms(header: Any) -> dict[str, npt.NDArray[np.float64]]:
    """The orientations that the header declares (a code above 0) and that say anything, float64 [4, 4]; sform first."""
    # qfac, the handedness of the qform: the standard takes 0, and everything that is not negative, for 1.
    header["pixdim"][0] = -1.0 if header["pixdim"][0] < 0 else 1.0
    forms = {}
    if int(header["sform_code"]) > 0:
        forms["sform"] = np.asarray(header.get_sform(), dtype=np.float64)
    if int(header["qform_code"]) > 0:
        forms["qform"] = np.asarray(header.get_qform(), dtype=np.float64)
    return {
        name: form for name, form in forms.items() if np.isfinite(form).all() and not np.array_equal(form, np.eye(4))
    }


def _disagreement(sform: npt.NDArray[np.float64], qform: npt.NDArray[np.float64]) -> str | None:
    """Why two orientations of one volume cannot both be right; None where they say the same of axes and distances.

    Where the volume lies in space is left out: it moves no slice against another, and tools that centre one of the two
    forms are common.
    """
    fix = "(--trust sform or --trust qform decides)"
    s, q = sform[:3, :3], qform[:3, :3]
    if np.linalg.det(s) * np.linalg.det(q) < 0:
        return f"qform and sform are mirror images of each other {fix}"
    lengths = np.linalg.norm(s, axis=0), np.linalg.norm(q, axis=0)
    if not (lengths[0] > 0).all() or not (lengths[1] > 0).all():
        return None  # such an axis is refused for itself
    if np.abs(lengths[0] / lengths[1] - 1).max() > MOST_STRETCH:
        return f"qform and sform give voxels of different sizes {fix}"
    cosines = np.clip((s * q).sum(axis=0) / (lengths[0] * lengths[1]), -1, 1)
    if (angle := float(np.degrees(np.arccos(cosines.min())))) > MOST_ANGLE_DEG:
        return f"qform and sform differ by {angle:.0f}° {fix}"
    return None


def _axial_axis(affine: npt.NDArray[np.float64]) -> int:
    """The index that runs along the body more than the others do."""
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    return int(np.argmax(np.abs(affine[2, :3]) / np.where(lengths > 0, lengths, np.inf)))


def _geometry(header: Any, affine: npt.NDArray[np.float64] | None, axis: int) -> dict[str, Any]:
    """The fields of a Volume that say where its slices lie."""
    if affine is None:
        zooms = [round(abs(float(value)), 4) for value in header["pixdim"][1:4]]
        spacing = (zooms[1], zooms[0]) if min(zooms[:2]) > 0 and all(map(math.isfinite, zooms)) else None
        return {"orientation": None, "spacing_mm": spacing, "step_mm": None, "positions": None}
    low, high = (index for index in range(3) if index != axis)
    orientation = orientation_of(affine[:, low].tolist(), affine[:, high].tolist())
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    positions = None
    if orientation is not None:
        normal = np.array(orientation.normal)
        positions = (float(normal @ affine[:, 3]), float(normal @ affine[:, axis]))
    spacing = (round(float(lengths[high]), 4), round(float(lengths[low]), 4))
    return {
        "orientation": orientation,
        "spacing_mm": spacing if min(spacing) > 0 else None,
        "step_mm": float(lengths[axis]),
        "positions": positions,
    }


def _series(volume: NiftiVolume, key: str) -> SeriesHeader:
    rows, columns = volume.matrix
    return SeriesHeader(
        study=key,
        series=key,
        kind="nifti",
        geometry=Geometry(
            rows=rows,
            columns=columns,
            spacing_mm=volume.spacing_mm,
            reorientation="" if volume.orientation is None else volume.orientation.reorientation,
        ),
        orientation="unknown" if volume.orientation is None else volume.orientation.text,
    )


def _check_size(volume: NiftiVolume, length: int, packed: bool) -> None:
    """Refuse a claim that the file's bytes cannot meet, before anything is made of it."""
    most = length * _DEFLATE_RATIO if packed else length
    if volume.offset + volume.bytes > most:
        raise SliceError("the NIfTI file is truncated")
    if packed and volume.axis != 2 and volume.bytes > MOST_WHOLE:
        raise SliceError(
            f"{volume.bytes >> 20} MiB in another order than slice by slice: save it uncompressed, or as axial slices"
        )


def _streamed(stream: BinaryIO, volume: NiftiVolume, packed: bool) -> Iterator[npt.NDArray[Any]]:
    """Slices as they follow each other in the file, [rows, columns]."""
    _skip(stream, volume.offset - stream.tell())
    rows, columns = volume.matrix
    for _ in range(volume.shape[2]):
        block = _take(stream, rows * columns * volume.dtype.itemsize)
        yield np.frombuffer(block, volume.dtype).reshape(rows, columns)
    if packed:
        _finish_gzip(stream)


def _strided(data: bytes, stream: BinaryIO, volume: NiftiVolume, packed: bool) -> Iterator[npt.NDArray[Any]]:
    """Slices across the order of the file: views of all voxels."""
    voxels: bytes | bytearray = data
    offset = volume.offset
    if packed:
        _skip(stream, volume.offset - stream.tell())
        voxels, offset = bytearray(), 0
        while len(voxels) < volume.bytes:
            voxels += _take(stream, min(1 << 20, volume.bytes - len(voxels)))
        _finish_gzip(stream)
    array = np.frombuffer(voxels, volume.dtype, math.prod(volume.shape), offset).reshape(volume.shape[::-1])
    yield from np.moveaxis(array, 2 - volume.axis, 0)


def _take(stream: BinaryIO, count: int) -> bytes:
    """Exactly that many bytes. Raises SliceError where there are fewer, or where gzip is damaged."""
    try:
        block = stream.read(count)
    except EOFError as error:
        raise SliceError("the NIfTI file is truncated") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise SliceError("the gzip file is damaged") from error
    if len(block) != count:
        raise SliceError("the NIfTI file is truncated")
    return block


def _skip(stream: BinaryIO, count: int) -> None:
    while count > 0:
        count -= len(_take(stream, min(count, 1 << 20)))


def _finish_gzip(stream: BinaryIO) -> None:
    """Read on to gzip's checksum, which proves the voxels. Raises SliceError where more follows than may."""
    left = _AFTER
    while left > 0:
        try:
            block = stream.read(min(left, 1 << 16))
        except EOFError as error:
            raise SliceError("the gzip file is truncated") from error
        except (zlib.error, gzip.BadGzipFile) as error:
            raise SliceError("the gzip file is damaged") from error
        if not block:
            return
        left -= len(block)
    raise SliceError("more data than the NIfTI header says")
