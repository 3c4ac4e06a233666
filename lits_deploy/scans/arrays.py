"""Slices that a program has in memory already: an array in, frames out, as the readers of files give them.

    uint8             windowed as the contract says; as a picture, its window cannot be checked
    int16 … float64   HU; windowed here, like a DICOM or NIfTI file
    [H, W]            one slice: its neighbours, where the network sees several, are itself
    [N, H, W]         one series, in order: neighbours are those before and after

Rows run from front to back and columns from the patient's right to the left: the contract's orientation, for an array
has no header that says another. Nothing but pixels is known, so of all gates those that look at them apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.contract import InputContract
from lits_deploy.errors import ContractError, SliceError
from lits_deploy.scans import Frame, Scan
from lits_deploy.scans.gates import size_doubt
from lits_deploy.scans.hounsfield import Rescale, check_window, finish, window_text
from lits_deploy.scans.image import fitted, gated
from lits_deploy.scans.neighbours import alone, in_file
from lits_deploy.series.facts import SliceHeader

_NO_RESCALE = Rescale()


def scan_of(array: npt.ArrayLike, contract: InputContract) -> Scan:
    """The slices of an array, uint8 [C, S, S] each as the network takes them; series is None.

    Raises ContractError for an array of another kind, or of a size that does not suit the network.
    """
    slices = checked(array, contract)
    one = alone(contract)
    frames: Iterator[Frame] = (_frame(stored, index, one) for index, stored in enumerate(slices))
    if contract.channels > 1:
        headers = [Frame(index=index, header=SliceHeader(number=index)) for index in range(len(slices))]
        frames = in_file(frames, headers, contract.channels)
    return Scan(series=None, window="unverified" if slices.dtype == np.uint8 else window_text(contract), frames=frames)


def checked(array: npt.ArrayLike, contract: InputContract) -> npt.NDArray[Any]:
    """The array as slices [N, H, W]. Raises ContractError as `scan_of` does."""
    slices = np.asarray(array)
    if slices.ndim not in (2, 3) or 0 in slices.shape[-2:]:
        raise ContractError(
            f"An array of {list(slices.shape)} holds no slices.", fix="one slice [H, W], or a series [N, H, W]"
        )
    _check_axes(slices.shape)
    rows, columns = slices.shape[-2:]
    if slices.dtype == np.uint8:
        if rows != columns:
            raise ContractError(
                f"{columns}×{rows} pixels are not square.", fix="pad with 0, or give HU, which are padded"
            )
    elif _holds_hu(slices.dtype):
        try:
            check_window(contract)
        except SliceError as error:
            raise ContractError(f"{error}.", fix="window the slices yourself, to uint8") from None
    else:
        raise ContractError(
            f"{slices.dtype} holds neither windowed slices (uint8) nor HU, which are below 0 in air.",
            fix="stored values · slope + intercept as int16 or float32",
        )
    if (doubt := size_doubt(max(rows, columns), contract)) is not None:
        raise ContractError(f"{doubt}.", fix="give the slices as the scanner made them")
    return slices.reshape(-1, rows, columns)


def _check_axes(shape: tuple[int, ...]) -> None:
    """Refuse pictures in colour, and volumes as nibabel gives them, whose rows would be taken for slices.

    The latter have as many "slices" as rows, and these are not square, as no scanner makes them. A volume whose axes
    are all equal cannot be told.
    """
    if len(shape) == 3 and shape[-1] in (3, 4):
        raise ContractError(f"{list(shape)} is a colour picture.", fix="Image.open(path).convert('L')")
    if len(shape) == 3 and shape[0] == shape[1] != shape[2]:
        raise ContractError(
            f"{list(shape)}: the slices seem to lie along the last axis.",
            fix="np.moveaxis(array, -1, 0), then orient them as displayed; a cropped series: pad it to squares",
        )


def _holds_hu(dtype: np.dtype[Any]) -> bool:
    return dtype.itemsize <= 8 and (dtype.kind == "f" or (dtype.kind == "i" and dtype.itemsize > 1))


def _frame(stored: npt.NDArray[Any], index: int, contract: InputContract) -> Frame:
    if stored.dtype == np.uint8:
        return gated(fitted(stored, contract), index)
    pixels, doubt = finish(stored, _NO_RESCALE, "", contract)
    return Frame(index=index, pixels=pixels, excluded=doubt)
