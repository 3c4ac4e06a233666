"""What a source folder was found to hold: a record a scan, and one over them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SourcePicture:
    """One slice that is a picture already. masks: one label map, or liver and lesion masks; split: as it came."""

    image: Path
    masks: tuple[Path, ...]
    number: int
    split: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScanSource:
    """One scan of a patient to prepare: a pair of volumes, or pictures.

    patient, scan: names in the source, without leading zeros, so that a volume has one name in all layouts.
    number: what its slices are called, volume-NUMBER_…; −1 where the source wishes for none (`people.numbered`).
    patient_number: of the patient's first scan.
    problem: why it cannot be prepared, or None. notes: what else is odd about it.
    """

    patient: str
    scan: str
    number: int
    patient_number: int = -1
    image: Path | None = None
    mask: Path | None = None
    pictures: tuple[SourcePicture, ...] = ()
    problem: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Every file of the scan."""
        pair = [path for path in (self.image, self.mask) if path is not None]
        return pair + [path for picture in self.pictures for path in (picture.image, *picture.masks)]


@dataclass(frozen=True, kw_only=True)
class SourceContents:
    """Scans, remarks for the user, tables that carry flags, and whether the source came split."""

    sources: tuple[ScanSource, ...]
    notes: tuple[str, ...] = ()
    tables: tuple[Path, ...] = ()
    split: bool = False
    window_hu: tuple[float, float] | None = None


def listed(values: list[int] | list[str], most: int = 12) -> str:
    """Values joined by commas, the rest as a number."""
    rest = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(str(value) for value in values[:most]) + rest
