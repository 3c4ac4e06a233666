"""Slices as a network takes them: one, or with its neighbours as channels. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.errors import DataError, SliceError
from lits_deploy.scans import Slice
from lits_deploy.scans.gates import grey_doubt
from lits_deploy.scans.image import fitted, load_slice
from lits_deploy.scans.neighbours import alone, stacked
from lits_deploy.series import neighbours_of
from train.data.layout import Sample

Load = Callable[[Path], Slice]
"""A file → its own slice, uint8 [1, S, S]; raises SliceError or OSError. Whoever keeps slices has one that does."""


def loader(contract: InputContract) -> Load:
    """Reads a slice as that contract has it, from its file each time."""
    one = alone(contract)
    return lambda path: load_slice(path, one)


def load_sample(
    sample: Sample, contract: InputContract, data: bytes | None = None, *, load: Load | None = None
) -> Slice:
    """A sample as uint8 [C, S, S]; data: its picture's bytes, where they are at hand. load: instead of `loader`'s.

    Raises SliceError or OSError where its own picture cannot be used; a neighbour that cannot is replaced (`stacked`).
    """
    load = load or loader(contract)
    own = load(sample.image) if data is None else load_slice(data, alone(contract))
    if contract.channels == 1:
        return own
    return stacked([own if p == sample.image else _usable(p, load) for p in sample.neighbours(contract.channels)])


def read_slice(sample: Sample, contract: InputContract) -> Slice:
    """A sample's own slice uint8 [1, S, S]; DataError, naming the fix, where its picture cannot be used."""
    try:
        return load_slice(sample.image, alone(contract))
    except SliceError as error:
        raise DataError(f"{sample.image}: {error}.", fix="mend or remove the file") from error


def _usable(path: Path, load: Load) -> Slice | None:
    try:
        pixels = load(path)
    except (SliceError, OSError):
        return None
    return pixels if grey_doubt(pixels[0]) is None else None  # as the pipeline withholds it


def fitted_slice(volume: npt.NDArray[np.uint8], index: int, contract: InputContract) -> Slice:
    """Slice `index` of a volume uint8 [Z, S, S] with its neighbours there: uint8 [C, size, size]."""
    channels = neighbours_of(index, len(volume), contract.channels)
    return np.concatenate([fitted(volume[i], contract) for i in channels])
