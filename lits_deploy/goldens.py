"""The goldens of a bundle: slices of a phantom with the original's answers, and a network held against them.

Used by `verify`, by `doctor` and by the gate of TensorRT engines.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.bundle import Bundle
from lits_deploy.errors import BundleError
from lits_deploy.parity import Parity
from lits_deploy.printable import printable
from lits_deploy.runtime.base import Runtime

MOST_SLICES = 1024
"""Goldens of a bundle: `export` writes 16 of a classifier, 4 of a U-Net."""

MOST_INFLATED = 256 << 20
"""Bytes of one of their arrays: shapes come from the same stranger's contract, and 16 slices may be said to take 17 GB.
Those of a U-Net for slices of 512 × 512 take 13 MB."""

_MEMBERS = {f"{name}.npy" for name in ("slices", "probabilities", "logits", "labels")}
_MOST_DIRECTORY = 4096
_ODD = (
    KeyError,
    ValueError,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What zipfile and numpy raise over bytes that are no npz."""


def read_golden(bundle: Bundle) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Slices uint8 [N, C, S, S] and the original's FP32 probabilities [N, 3] or [N, 3, S, S].

    Only what the contract leads one to expect is inflated, so a bomb never is. Raises BundleError for anything else.
    """
    data, contract = bundle.golden(), bundle.manifest.contract
    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if foreign := {info.filename for info in archive.infolist()} - _MEMBERS:
                raise ValueError(f"{printable(min(foreign))} is none of its arrays")
            slices = _array(archive, "slices", np.dtype(np.uint8), contract.shape)
            classes, side = len(contract.classes), contract.crop or contract.size
            expected = _array(archive, "probabilities", np.dtype(np.float32), (classes,), (classes, side, side))
        if len(slices) != len(expected):
            raise ValueError(f"{len(slices)} slices and {len(expected)} answers")
    except _ODD as error:
        raise BundleError(f"golden.npz does not hold goldens ({_why(error)}).", fix="export again") from error
    return slices, expected


def _check_directory(data: bytes) -> None:
    """ValueError where a zip's table of contents is not a small one at its end: reading a large one takes memory."""
    end = data[-22:]  # numpy writes no comment behind it
    if len(end) < 22 or end[:4] != b"PK\x05\x06" or data[-42:-38] == b"PK\x06\x07":
        raise ValueError("it is no plain zip file")
    if int.from_bytes(end[12:16], "little") > _MOST_DIRECTORY:
        raise ValueError("its table of contents is too long")


def _array(archive: zipfile.ZipFile, name: str, dtype: np.dtype[Any], *each: tuple[int, ...]) -> npt.NDArray[Any]:
    """An array [N, *one of `each`] of that type, N up to MOST_SLICES. Its header is read before its content."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed by method {info.compress_type}")
    with archive.open(info) as stream:
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("another version")
            shape, by_column, found = np.lib.format.read_array_header_1_0(stream)
        except Exception as error:  # it is parsed as Python: tokens, recursion and memory are what it may raise too
            raise ValueError(f"{name} has no header") from error
        if found != dtype or by_column or shape[1:] not in each or not 1 <= shape[0] <= MOST_SLICES:
            raise ValueError(f"{name} is {found} {list(shape)}")
        size = math.prod(shape) * dtype.itemsize
        if size > MOST_INFLATED:
            raise ValueError(f"{name} takes {size >> 20:,} MiB")
        content = bytearray(stream.read(size + 1))
    if len(content) != size:
        raise ValueError(f"{name} is not as long as it says")
    return np.frombuffer(content, dtype).reshape(shape)


def _why(error: BaseException) -> str:
    return printable(" ".join(str(error).split()))[:200] or type(error).__name__


def compare(
    runtime: Runtime, slices: npt.NDArray[np.uint8], expected: npt.NDArray[np.float32], tolerance: float
) -> Parity:
    """Run known slices through a network and hold its probabilities against the expected ones, batch by batch.

    slices: uint8 [N, C, S, S]; expected: float32 [N, K] or [N, K, S, S]. Raises what `Runtime.infer` raises, and
    BundleError for probabilities of another shape.
    """
    parity = Parity(tolerance)
    for start in range(0, len(slices), runtime.max_batch):
        end = min(start + runtime.max_batch, len(slices))
        got = runtime.infer(slices[start:end]).probabilities
        assert got is not None
        if got.shape != expected[start:end].shape:
            raise BundleError(
                f"Its probabilities are {list(got.shape)}, the original's {list(expected[start:end].shape)}.",
                fix="export again",
            )
        parity.add([f"golden {index}" for index in range(start, end)], expected[start:end], got)
    return parity
