"""What a scan is like in HU, noted while it still is: slices of the training layout are 8 bit, in one window.

    dataset.json   "hu": {volume number: {number of `scans.appearance.HU`: median over its slices}}

A bundle keeps it of the series that its network was trained on (`export.training_series`), for series in HU to be held
against. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lits_deploy.decode.checksum import checksum
from lits_deploy.drift.portrait import by_looks
from lits_deploy.manifest_check import is_number
from lits_deploy.scans.appearance import HU, chosen, look, of_hu, packed

KEY = "hu"
"""Where dataset.json keeps it."""


class InHu:
    """Looks at the slices of one scan, as `classify` does."""

    def __init__(self) -> None:
        self._looks: list[tuple[int, bytes]] = []

    def add(self, grey: npt.NDArray[np.uint8], hu: npt.NDArray[np.float32]) -> None:
        """A slice as it is written, uint8 [S, S], and in HU [rows, columns]."""
        if chosen(checksum(grey)) and (seen := look(grey, partial(of_hu, hu, np.asarray))):
            self._looks.append((len(self._looks), packed(seen)))

    def numbers(self) -> dict[str, float]:
        """The scan's; none where too few of its slices were looked at."""
        found = by_looks(self._looks, ordered=False)
        return {name: round(found[name], 1) for name in HU if name in found}


def noted(declared: dict[str, Any], scan: str) -> dict[str, float]:
    """What dataset.json says of a scan, as far as it makes sense."""
    scans = declared.get(KEY)
    found = scans.get(scan) if isinstance(scans, dict) else None
    if not isinstance(found, dict):
        return {}
    return {name: float(found[name]) for name in HU if is_number(found.get(name))}


def joined(scans: Iterable[tuple[str, dict[str, float]]]) -> dict[str, Any]:
    """For dataset.json, of scans by number; nothing where none has HU."""
    by_scan = {number: numbers for number, numbers in scans if numbers}
    return {KEY: by_scan} if by_scan else {}
