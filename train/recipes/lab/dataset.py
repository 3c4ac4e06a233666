"""The data set at hand: what it is recognised by, and the class of every slice, read once and remembered.

Decodes masks, no pictures.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from lits_deploy.files import write_json
from lits_deploy.machine import cores
from train.data.layout import Layout, Sample, read_layout
from train.data.masks import load_class


class DataSet:
    """A data set in the training layout; `cache` is a folder for what was read from it."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.cache = root, cache

    @cached_property
    def layout(self) -> Layout:
        """Its slices, listed when they are first asked for; DataError where there are none."""
        return read_layout(self.root)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    @property
    def samples(self) -> list[Sample]:
        """Every slice, split by split."""
        return [sample for samples in self.layout.splits.values() for sample in samples]

    @property
    def has_masks(self) -> bool:
        """Whether every slice has a mask, as a U-Net needs."""
        return all(sample.mask is not None for sample in self.samples)

    @cached_property
    def identity(self) -> str:
        """16 hex digits of the names and sizes of all files and of dataset.json: not of their bytes."""
        digest = hashlib.sha256(json.dumps(self.layout.declared, sort_keys=True).encode())
        for split, samples in self.layout.splits.items():
            for sample in samples:
                mask = "" if sample.mask is None else str(sample.mask.stat().st_size)
                parts = (split, sample.image.name, str(sample.image.stat().st_size), mask)
                digest.update("\0".join((*parts, str(sample.target), sample.patient)).encode() + b"\n")
        return digest.hexdigest()[:16]

    @cached_property
    def classes(self) -> dict[Path, int]:
        """Class 0, 1 or 2 of every picture: the largest label of its mask, or what targets.csv says."""
        names = [str(sample.image.relative_to(self.root)) for sample in self.samples]
        path = self.cache / f"classes-{self.identity}.json"
        if path.is_file():
            known: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
        else:
            with ThreadPoolExecutor(cores()) as pool:
                known = dict(zip(names, pool.map(load_class, self.samples), strict=True))
            write_json(path, known)
        return {sample.image: known[name] for sample, name in zip(self.samples, names, strict=True)}

    def counts(self, split: str) -> tuple[int, int, int]:
        """Slices of class 0, 1 and 2 in a split."""
        found = [self.classes[sample.image] for sample in self.layout.splits[split]]
        return found.count(0), found.count(1), found.count(2)
