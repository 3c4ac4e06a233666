"""NIfTI volumes, `.nii` and `.nii.gz`: each axial slice in HU → the network's input.

nibabel reads the header (NIfTI-1 and -2, both byte orders). Voxels are taken here, slice by slice as they lie in the
file, so that memory does not grow with the volume and a gzip bomb ends where the header's own size does; only a volume
whose axial axis is not the slowest is inflated whole, up to MOST_WHOLE.
A NIfTI header names no modality: what is no CT in HU (masks, label maps, MR) is told by `scans.gates`. Where it does
not say how the voxels lie (no form code, or the unit matrix, as in LiTS volumes 28 to 47) the slices are withheld: an
abdomen turned by 180° looks like one, and a network answers it all the same. `lits-deploy data prepare` tells by the
pixels, with a liver mask.
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
from lits_deploy.scans import Frame, Scan, Series
from lits_deploy.scans.gates import geometry_doubt
from lits_deploy.scans.hounsfield import Rescale, check_window, finish, window_words
from lits_deploy.scans.orient import Lie, lie_of

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


@dataclass(frozen=True, kw_only=True)
class Volume:
    """shape: of the array, first index fastest. axis: index that runs along the slices. offset: of the first voxel.

    lie: of a slice whose columns run along the lower of the two other indices, or None. spacing_mm: between rows and
    between columns; step_mm: between slices. positions: mm along the normal of the first slice and per slice, or None.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    rescale: Rescale
    axis: int
    lie: Lie | None
    spacing_mm: tuple[float, float] | None
    step_mm: float | None
    positions: tuple[float, float] | None

    @property
    def matrix(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        columns, rows = (side for index, side in enumerate(self.shape) if index != self.axis)
        return rows, columns

    @property
    def bytes(self) -> int:
        """Of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


def read(data: bytes, contract: InputContract, *, headers_only: bool = False) -> Scan:
    """Understand a NIfTI file (`scans.Reader`)."""
    packed = data.startswith(_GZIP)
    stream: BinaryIO = gzip.GzipFile(fileobj=io.BytesIO(data)) if packed else io.BytesIO(data)  # type: ignore[assignment]
    volume, fingerprint = _header(stream)
    series = _series(volume, f"{fingerprint}-{zlib.crc32(data):08x}")
    doubt = geometry_doubt(*volume.matrix, volume.spacing_mm, volume.step_mm, volume.lie, contract)
    try:
        _check_size(volume, len(data), packed)
    except SliceError as error:
        raise SliceError(str(error), series=series) from None
    frames: Iterator[Frame]
    if headers_only or doubt is not None:
        frames = (_frame(volume, index, withheld=doubt) for index in range(volume.shape[volume.axis]))
    else:
        slices = _streamed(stream, volume, packed) if volume.axis == 2 else _strided(data, stream, volume, packed)
        frames = _judged(slices, volume, series, contract)
    return Scan(series=series, window=window_words(contract), frames=frames)


def _judged(
    slices: Iterator[npt.NDArray[Any]], volume: Volume, series: Series, contract: InputContract
) -> Iterator[Frame]:
    try:
        check_window(contract)
        for index, stored in enumerate(slices):
            pixels, doubt = finish(stored, volume.rescale, series.turn, contract)
            yield _frame(volume, index, pixels=pixels, withheld=doubt)
    except SliceError as error:
        raise SliceError(str(error), series=series) from error


def _frame(volume: Volume, index: int, **what: Any) -> Frame:
    first, step = volume.positions or (0.0, 0.0)
    position = None if volume.positions is None else round(first + index * step, 3)
    return Frame(index=index, position=position, **what)


def _header(stream: BinaryIO) -> tuple[Volume, str]:
    """The volume that a header describes, and a hash of it."""
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
        return _volume(header, size), sha256_bytes(block)[:16]
    except SliceError:
        raise
    except Exception as error:  # nibabel raises its own errors, and numpy's, on nonsense
        raise SliceError("the NIfTI header is damaged") from error


def _volume(header: Any, size: int) -> Volume:
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
    affine = _affine(header)
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
    return Volume(
        shape=(columns, rows, slices),
        dtype=dtype,
        offset=offset,
        rescale=rescale,
        axis=axis,
        **_geometry(header, affine, axis),
    )


def _affine(header: Any) -> npt.NDArray[np.float64] | None:
    """Voxel index → DICOM's axes in mm, float64 [3, 4]; None where the header does not say how the voxels lie."""
    if int(header["qform_code"]) == 0 and int(header["sform_code"]) == 0:
        return None
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    if not np.isfinite(affine).all() or np.array_equal(affine, np.eye(4)):
        return None
    scale = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    return np.diag([-1.0, -1.0, 1.0]) @ affine[:3] * scale


def _axial_axis(affine: npt.NDArray[np.float64]) -> int:
    """The index that runs along the body more than the others do."""
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    return int(np.argmax(np.abs(affine[2, :3]) / np.where(lengths > 0, lengths, np.inf)))


def _geometry(header: Any, affine: npt.NDArray[np.float64] | None, axis: int) -> dict[str, Any]:
    """The fields of a Volume that say where its slices lie."""
    if affine is None:
        zooms = [round(abs(float(value)), 4) for value in header["pixdim"][1:4]]
        spacing = (zooms[1], zooms[0]) if min(zooms[:2]) > 0 and all(map(math.isfinite, zooms)) else None
        return {"lie": None, "spacing_mm": spacing, "step_mm": None, "positions": None}
    low, high = (index for index in range(3) if index != axis)
    lie = lie_of(affine[:, low].tolist(), affine[:, high].tolist())
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    positions = None
    if lie is not None:
        normal = np.array(lie.normal)
        positions = (float(normal @ affine[:, 3]), float(normal @ affine[:, axis]))
    spacing = (round(float(lengths[high]), 4), round(float(lengths[low]), 4))
    return {
        "lie": lie,
        "spacing_mm": spacing if min(spacing) > 0 else None,
        "step_mm": float(lengths[axis]),
        "positions": positions,
    }


def _series(volume: Volume, key: str) -> Series:
    rows, columns = volume.matrix
    return Series(
        study=key,
        key=key,
        kind="nifti",
        rows=rows,
        columns=columns,
        spacing_mm=volume.spacing_mm,
        turn="" if volume.lie is None else volume.lie.turn,
        orientation="unknown" if volume.lie is None else volume.lie.words,
    )


def _check_size(volume: Volume, length: int, packed: bool) -> None:
    """Refuse a claim that the file's bytes cannot meet, before anything is made of it."""
    most = length * _DEFLATE_RATIO if packed else length
    if volume.offset + volume.bytes > most:
        raise SliceError("the NIfTI file is truncated")
    if packed and volume.axis != 2 and volume.bytes > MOST_WHOLE:
        raise SliceError(
            f"{volume.bytes >> 20} MiB in another order than slice by slice: save it uncompressed, or as axial slices"
        )


def _streamed(stream: BinaryIO, volume: Volume, packed: bool) -> Iterator[npt.NDArray[Any]]:
    """Slices as they follow each other in the file, [rows, columns]."""
    _skip(stream, volume.offset - stream.tell())
    rows, columns = volume.matrix
    for _ in range(volume.shape[2]):
        block = _take(stream, rows * columns * volume.dtype.itemsize)
        yield np.frombuffer(block, volume.dtype).reshape(rows, columns)
    if packed:
        _finish_gzip(stream)


def _strided(data: bytes, stream: BinaryIO, volume: Volume, packed: bool) -> Iterator[npt.NDArray[Any]]:
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
