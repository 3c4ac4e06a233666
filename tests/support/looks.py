"""Series made up in numbers: looks of slices around some middle, as the ledger keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ledgers import ABOUT_TINY, CLASSES
from lits_deploy.drift.portrait import Portrait, by_looks
from lits_deploy.drift.reference import DriftReference, reference_of
from lits_deploy.files import canonical_json
from lits_deploy.ledger import ABOUT, NAMES, OK, RUN, FileRow, HeaderRow, Ledger, SliceRow
from lits_deploy.results import PROVENANCE
from lits_deploy.scans.appearance import GREY, HU, packed
from lits_deploy.scans.discover import ScanRecord

_USUAL = (270, 34, 36, 112, 192, 1300, 165, 180, 220, 330, 450, -100, 20, 120, 120, 180)
USUAL = dict(zip(GREY + HU, _USUAL, strict=True))
"""A liver CT through -40…160 HU."""


def looks(
    seed: int, count: int = 20, *, hu: bool = False, changes: Mapping[str, float] | None = None
) -> list[tuple[int, bytes]]:
    """Looks of `count` slices of one patient, who differs from others by some percent. changes: added to numbers."""
    rng = np.random.default_rng(seed)
    own = {name: value * (1 + 0.06 * rng.normal()) for name, value in USUAL.items()}
    own = {name: value + (changes or {}).get(name, 0) for name, value in own.items()}
    made = []
    for index in range(count):
        rise = (changes or {}).get("rise", 0.08) * (index / count - 0.5)
        row = {name: value * (1 + 0.02 * rng.normal()) for name, value in own.items()}
        row |= {"hollow": row["hollow"] * (1 + rise), "mean": row["mean"] * (1 + 0.2 * rise)}
        made.append((index, packed(tuple(round(row[name]) for name in (GREY + HU if hu else GREY)))))
    return made


def person(seed: int, *, hu: bool = False, changes: Mapping[str, float] | None = None, **numbers: float) -> Portrait:
    """A series of such looks. numbers: others that it has, too."""
    return Portrait(numbers=by_looks(looks(seed, hu=hu, changes=changes)) | numbers)


def people(count: int = 21, *, hu: bool = False, first: int = 0, **fields: str) -> DriftReference:
    """What a bundle keeps of as many."""
    return reference_of([person(seed, hu=hu) for seed in range(first, first + count)], data="made up", **fields)  # type: ignore[arg-type]


def night(
    folder: Path,
    seeds: Iterable[int],
    *,
    reference: DriftReference | None = None,
    changes: Mapping[str, float] | None = None,
    contract: str = "c" * 64,
    bundle: str = "b" * 64,
    technique: Mapping[str, str] | None = None,
    each: int = 1,
) -> Path:
    """An OUT with the ledger of a run over such series, of 24 slices that are all looked at; `each` of them a study."""
    folder.mkdir(parents=True)
    seeds = list(seeds)
    with Ledger(folder) as ledger:
        found = [ScanRecord(f"s{seed}/volume-{n}.nii", 100, 0, kind="nifti") for seed in seeds for n in range(each)]
        ledger.stage(found)
        ledger.adopt({"bundle": bundle}, "/scans")
        slices, files = [], []
        for row in list(ledger.pending(100_000)):
            seed, number = int(row.path[1:].partition("/")[0]), int(row.path.rpartition("-")[2].partition(".")[0])
            info = {"kind": "nifti", "modality": None, "orientation": "axial", "technique": dict(technique or {})}
            header = HeaderRow(f"series{seed}-{number}", f"study{seed}", "", canonical_json(info))
            files.append(FileRow(row.file, OK, None, "ab" * 32, "w", header))
            for index, look in looks(seed, 24 - number, changes=changes):
                facts = canonical_json({"position": 5.0 * index})
                p2 = 0.1 + 0.3 * np.random.default_rng([seed, index]).random()
                slices.append(SliceRow(row.file, index, OK, None, 1, 0.5, 0.5 - p2, p2, facts, None, None, look))
        ledger.record(slices, files)
        about = {
            **ABOUT_TINY,
            "bundle": bundle,
            "contract": {**ABOUT_TINY["contract"], "sha256": contract},  # type: ignore[dict-item]
            "reference": None if reference is None else reference.to_json(),
        }
        ledger.note(ABOUT, canonical_json(about))
        ledger.note(NAMES, "abcdef")
        ledger.note(RUN, canonical_json({"classes": CLASSES, "provenance": dict.fromkeys(PROVENANCE, "x")}))
    return folder
