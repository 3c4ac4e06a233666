"""The patients of train and validate as one pool, and the layouts that are trained on: a fold's, and the final one.

Knows nothing about how patients are dealt out (`deal`). Where a slice lay, in train/ or in validate/, changes nothing:
neither folds nor weights. Test stays as it is. Decodes no picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lits_deploy.series import natural
from train.data.layout import Layout, Sample, plain

POOLED = ("train", "validate")
"""Splits whose patients are dealt out."""

Folds = Sequence[Sequence[str]]
"""Patients of each fold, as `plain` names them."""


def pooled(layout: Layout) -> tuple[Sample, ...]:
    """The slices of train and validate, by patient, scan and slice; each patient under one name (`7` and `007`)."""
    samples = [sample for split in POOLED for sample in layout.splits.get(split, ())]
    names: dict[str, str] = {}
    for name in sorted({sample.patient for sample in samples}):
        names.setdefault(plain(name), name)
    named = [replace(sample, patient=names[plain(sample.patient)]) for sample in samples]
    return tuple(sorted(named, key=_order))


def _order(sample: Sample) -> tuple[object, ...]:
    return plain(sample.patient), sample.scan, natural(sample.image.name), sample.image.parent.parent.name


def fold_layout(layout: Layout, folds: Folds, number: int) -> Layout:
    """What fold `number` (1 … K) is trained on: its own patients are validate, all other ones train."""
    own, pool = set(folds[number - 1]), pooled(layout)
    return replace(
        layout,
        splits={
            "train": tuple(sample for sample in pool if plain(sample.patient) not in own),
            "validate": tuple(sample for sample in pool if plain(sample.patient) in own),
            "test": layout.splits.get("test", ()),
        },
    )


def final_layout(layout: Layout) -> Layout:
    """What the final network is trained on: every patient of the pool; nobody is left for validate."""
    return replace(layout, splits={"train": pooled(layout), "validate": (), "test": layout.splits.get("test", ())})
