"""With what a slice was made, in words of fixed lists: make of the scanner, sharpness of the kernel, voltage.

Networks answer slices of other scanners otherwise, so series are compared by these (`lits_deploy.drift`). No other text
of these elements leaves the header, and no number but one that a scanner can have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydicom.dataset import Dataset

from lits_deploy.scans.dicom.header import Groups, number, text, texts
from lits_deploy.scans.gates import MOST_THICKNESS_MM

OTHER = "other"
"""What is none of a list; a header that says nothing has no word at all."""

SCANNERS = {
    "Siemens": ("SIEMENS",),
    "GE": ("GE ", "GENERAL ELECTRIC", "IMATRON"),
    "Philips": ("PHILIPS", "MARCONI", "PICKER", "ELSCINT"),
    "Canon": ("CANON", "TOSHIBA"),
    "Fujifilm": ("FUJIFILM", "HITACHI"),
    "United Imaging": ("UIH", "UNITED IMAGING"),
    "Neusoft": ("NEUSOFT", "NMS"),
    "Samsung": ("SAMSUNG", "NEUROLOGICA"),
}
"""Make → how Manufacturer begins, makes that were bought counted to who bought them."""

KERNELS = ("soft", "standard", "sharp")
VOLTAGES = (70, 80, 90, 100, 110, 120, 130, 135, 140, 150)
"""kV that CT tubes are run at."""

_NAMED = {
    **dict.fromkeys(("SOFT", "A", "SMOOTH", "UA"), "soft"),
    **dict.fromkeys(("STANDARD", "STND", "CHST", "DETAIL", "B", "C", "UB"), "standard"),
    **dict.fromkeys(
        ("SHARP", "BONE", "BONEPLUS", "LUNG", "EDGE", "ULTRA", "D", "E", "L", "YA", "YB", "YC", "YD"), "sharp"
    ),
}
"""Kernels that are names: GE's, the letters of Philips, and our words themselves."""

_SIEMENS = re.compile(r"[A-Z][A-Z]?(\d\d)[A-Z]?")  # B30f, Br40d, I31f: body, sharpness
_CANON = re.compile(r"FC(\d\d)")
_SOFT_BELOW, _SHARP_FROM = 30, 50  # of Siemens' numbers


def technique(top: Dataset, groups: Groups) -> Mapping[str, str | float]:
    """scanner, kernel, voltage: words; thickness_mm: a number. What the header does not say is missing.

    groups: of the series' first frame, whose functional groups go before the top level.
    """
    kernel = texts(groups.holding("CTReconstructionSequence", "ConvolutionKernel"), "ConvolutionKernel")
    return worded(
        text(top, "Manufacturer"),
        kernel[0] if kernel else None,
        number(groups.holding("CTXRayDetailsSequence", "KVP"), "KVP"),
        number(groups.holding("PixelMeasuresSequence", "SliceThickness"), "SliceThickness"),
    )


def worded(
    maker: str | None, kernel: str | None, voltage: float | None, thickness: float | None
) -> dict[str, str | float]:
    """The same of what a header says, in kV and mm, whoever read it."""
    found: dict[str, str | float] = {}
    if maker:
        begun = f"{maker.upper()} "
        found["scanner"] = next((name for name, begins in SCANNERS.items() if begun.startswith(begins)), OTHER)
    if kernel is not None:
        found["kernel"] = sharpness(kernel)
    if voltage is not None:
        found["voltage"] = f"{voltage:.0f} kV" if voltage in VOLTAGES else OTHER
    if thickness is not None and 0 < thickness <= MOST_THICKNESS_MM:
        found["thickness_mm"] = round(thickness, 2)
    return found


def sharpness(kernel: str) -> str:
    """Of KERNELS, by the name that its maker gave it; else OTHER."""
    name = kernel.strip().upper()
    if name in _NAMED:
        return _NAMED[name]
    if match := _CANON.fullmatch(name):
        return "sharp" if int(match[1]) >= 30 and not 40 <= int(match[1]) < 50 else "standard"
    if match := _SIEMENS.fullmatch(name):
        level = int(match[1])
        return "soft" if level < _SOFT_BELOW else "standard" if level < _SHARP_FROM else "sharp"
    return OTHER
