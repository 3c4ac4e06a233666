"""Whether two data sets are one: a hash of what each split lists. Imports no torch and decodes no picture."""

from __future__ import annotations

from pathlib import Path

from lits_deploy.files import canonical_json, sha256_bytes
from train.data.layout import Layout, Sample


def listing(layout: Layout) -> dict[str, str]:
    """Hex SHA-256 of each split's slices: file name, patient, scan, given class, bytes of picture and mask.

    The folder's own place does not count, so a data set may be moved or copied.
    """
    return {
        split: sha256_bytes(canonical_json([_row(sample) for sample in samples]).encode())
        for split, samples in layout.splits.items()
    }


def _row(sample: Sample) -> list[str | int | None]:
    mask = None if sample.mask is None else _size(sample.mask)
    return [sample.image.name, sample.patient, sample.scan, sample.target, _size(sample.image), mask]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # whoever reads it will say so
        return None
