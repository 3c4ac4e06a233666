"""With what a scan was made, where its data set knows: make of the scanner, kernel, voltage, thickness of slices.

    dataset.json   "technique": {volume number: {"Manufacturer": …, "ConvolutionKernel": …, "KVP": …,
                                 "SliceThickness": …}}

NIfTI has none of it. `data prepare` takes it from the JSON that dcm2niix writes beside a volume, and writes words of
the fixed lists of `scans.dicom.technique`; whatever dataset.json says, a bundle gets such words alone. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lits_deploy.manifest_check import is_number
from lits_deploy.scans.dicom.technique import worded

KEY = "technique"
"""Where dataset.json keeps it."""

_KEYWORDS = {
    "scanner": "Manufacturer",
    "kernel": "ConvolutionKernel",
    "voltage": "KVP",
    "thickness_mm": "SliceThickness",
}
_MOST_BYTES = 1 << 20


def of_volume(image: Path) -> dict[str, str | float]:
    """What the JSON beside a NIfTI file says of it, for dataset.json; nothing where there is none that can be read."""
    path = image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    try:
        if path.stat().st_size > _MOST_BYTES:
            return {}
        found = _worded(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}
    if "voltage" in found:
        voltage = str(found["voltage"]).removesuffix(" kV")
        found["voltage"] = float(voltage) if voltage.isdecimal() else voltage
    return {keyword: found[name] for name, keyword in _KEYWORDS.items() if name in found}


def noted(declared: Mapping[str, Any], scan: str) -> dict[str, str | float]:
    """What dataset.json says of a scan, in words of fixed lists; `thickness_mm` is a number."""
    scans = declared.get(KEY)
    return _worded(scans.get(scan)) if isinstance(scans, dict) else {}


def joined(scans: Iterable[tuple[str, dict[str, str | float]]]) -> dict[str, Any]:
    """For dataset.json, of scans by number; nothing where none says anything."""
    found = {number: technique for number, technique in scans if technique}
    return {KEY: found} if found else {}


def _worded(found: object) -> dict[str, str | float]:
    if not isinstance(found, dict):
        return {}
    maker, kernel, voltage, thickness = (found.get(keyword) for keyword in _KEYWORDS.values())
    if isinstance(kernel, list) and kernel:
        kernel = kernel[0]
    return worded(
        maker if isinstance(maker, str) else None,
        kernel if isinstance(kernel, str) and kernel else None,
        _number(voltage),
        _number(thickness),
    )


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None
