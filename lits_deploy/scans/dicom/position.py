"""What a DICOM header says of a slice's position, and of what may tell it from others there (`series.SliceHeader`).

Attributes of the CT Image IOD and, for files of many frames, of the functional groups of Enhanced CT (PS3.3, C.7.6.16).
What is missing or makes no sense is not there: nothing here fails a file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydicom.dataset import Dataset

from lits_deploy.scans.dicom.header import Groups, binary, items, number, tag, text, texts
from lits_deploy.series.facts import SliceHeader, Value

_POSITIONS = {
    tag(keyword)
    for keyword in "ImagePositionPatient SliceLocation StackID InStackPositionNumber PlanePositionSequence"  # noqa: SIM905
    " ImagePositionVolume PlanePositionVolumeSequence".split()
}
"""Dimensions that give a frame's position: positions, Slice Location, Stack ID and In-Stack Position Number."""

_TIME = re.compile(r"([01]\d|2[0-3]):?(?:([0-5]\d):?(?:([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)


class SliceHeaders:
    """What a file says of its slices. many: it has frames, whose functional groups go before the top level; that says
    neither number nor position of one of them."""

    def __init__(self, top: Dataset, *, many: bool) -> None:
        self._many = many
        self._number = _integer(number(top, "InstanceNumber"))
        self._location = None if many else number(top, "SliceLocation")
        self._instance = text(top, "SOPInstanceUID") or None
        clock = _clock(text(top, "AcquisitionTime"))
        self._clock = _clock(text(top, "AcquisitionDateTime")[8:]) if clock is None else clock
        labels: dict[str, Value | None] = {
            "kernel": _joined(texts(top, "ConvolutionKernel")),
            "temporal position": _integer(number(top, "TemporalPositionIdentifier")),
            "trigger time": number(top, "TriggerTime"),
            "acquisition": _integer(number(top, "AcquisitionNumber")),
            "file": self._number if many else None,
        }
        self._labels: dict[str, Value] = {name: value for name, value in labels.items() if value is not None}
        self._dimensions = _dimensions(top) if many else []

    def of(self, groups: Groups, position: float | None, image_type: Sequence[str]) -> SliceHeader:
        """Of one slice. position: in mm along its normal."""
        labels = dict(self._labels)
        if kind := _joined(image_type):
            labels["image type"] = kind
        in_stack, clock = self._number, None
        if self._many:
            in_stack, clock = self._of_frame(groups, labels)
        return SliceHeader(
            position=position,
            location=self._location,
            number=in_stack,
            instance=self._instance,
            clock=self._clock if clock is None else clock,
            labels=labels,
        )

    def _of_frame(self, groups: Groups, labels: dict[str, Value]) -> tuple[int | None, float | None]:
        """Number and clock of a frame; its labels are put to the others."""
        for name, macro, attribute in (
            ("temporal position", "TemporalPositionSequence", "TemporalPositionTimeOffset"),
            ("trigger time", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
        ):
            if (group := groups.first(macro)) and (found := binary(group, attribute, "d")):
                labels[name] = found[0]
        group = groups.first("CTReconstructionSequence")
        if group and (kernel := _joined(texts(group, "ConvolutionKernel"))):
            labels["kernel"] = kernel
        content = groups.first("FrameContentSequence")
        if not content:
            return None, None
        for name, attribute, code in (
            ("temporal position", "TemporalPositionIndex", "I"),
            ("acquisition", "FrameAcquisitionNumber", "H"),
        ):
            if found := binary(content, attribute, code):
                labels[name] = found[0]
        values = binary(content, "DimensionIndexValues", "I") if self._dimensions else ()
        if varying := [str(values[n]) for n in self._dimensions if n < len(values)]:
            labels["dimension"] = "\\".join(varying)
        positions = binary(content, "InStackPositionNumber", "I")
        return int(positions[0]) if positions else None, _clock(text(content, "FrameAcquisitionDateTime")[8:])


def _dimensions(top: Dataset) -> Sequence[int]:
    """Which of a frame's Dimension Index Values may tell it from others at its position."""
    pointers = [binary(item, "DimensionIndexPointer", "H") for item in items(top, "DimensionIndexSequence")]
    return [n for n, at in enumerate(pointers) if len(at) == 2 and int(at[0]) << 16 | int(at[1]) not in _POSITIONS]


def _joined(values: Sequence[str]) -> str | None:
    """A text of several values as exporters agree on it, whatever they did to its letters and spaces."""
    return "\\".join(" ".join(value.upper().split()) for value in values) or None


def _integer(value: float | None) -> int | None:
    return int(value) if value is not None and value == int(value) else None


def _clock(time: str) -> float | None:
    """Seconds of the day of a TM value, or of a DT value without its date."""
    found = _TIME.match(time)
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    return round(3600 * int(hour) + 60 * int(minute or 0) + int(second or 0) + float(fraction or 0), 6)
