"""What headers say of a slice, as far as it matters for series: plain values, compared and never shown.

Whoever reads a header fills these in; identifiers may be tokens (`pipeline.naming`), for they are only compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Value = str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What makes slices comparable.

    rows, columns: of the source. spacing_mm: between rows, between columns. directions: Image Orientation
    (Patient), six cosines. Both None where no header says it. reorientation: how slices
    were, a name of `scans.orient`.
    """

    rows: int = 0
    columns: int = 0
    spacing_mm: tuple[float, float] | None = None
    directions: tuple[float, ...] | None = None
    reorientation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHeader:
    """A slice's position, and what may tell it from another one there; None and missing where no header says it.

    position: mm along the normal, towards the head. location: Slice Location, mm. number: Instance Number, in-stack
    position or index of a NIfTI slice; of a picture the number in its name. instance: SOP Instance UID. clock: seconds
    of the day at which it was acquired. labels: of CRITERIA, what the header has.
    """

    position: float | None = None
    location: float | None = None
    number: int | None = None
    instance: str | None = None
    clock: float | None = None
    labels: Mapping[str, Value] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What is known, as plain values: `SliceHeader(**values)` is this again."""
        values = {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}
        return {**values, "labels": dict(self.labels)} if self.labels else values


_FIELDS = ("position", "location", "number", "instance", "clock")

CRITERIA = ("image type", "kernel", "dimension", "temporal position", "trigger time", "acquisition", "file")
"""Labels by which slices of one series may be several volumes, in the order in which they are tried. file: Instance
Number of one that holds frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFacts:
    """One slice of a file. path: of its file; index: in it. patient: Patient ID, or empty. header: None for a file that
    failed. content: hash of the file's bytes; pixels: checksum of the slice as the network sees it; None: not known."""

    path: str
    index: int = 0
    patient: str = ""
    geometry: Geometry = Geometry()
    header: SliceHeader | None = None
    content: str | None = None
    pixels: int | None = None
