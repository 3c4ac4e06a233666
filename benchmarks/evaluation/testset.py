"""The labelled slices of one split: in the order of patients, and everything that weakens a figure on them.

Marks are what must stand beside every figure: patients in two splits (leaky), or a network that was trained or chosen
on these very patients, which their pixels tell (`train.data.seen`). Decodes no picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.evaluation.subject import Subject
from export.answers import in_order
from lits_deploy.errors import ContractError, DataError
from lits_deploy.synthetic import BESIDE, is_synthetic
from train.data.layout import SPLITS, Layout, Sample, layout_for
from train.data.seen import Past


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """samples: ordered by patient, scan, then name. split_by: patient, slice, or None where only this split is at hand.

    marks: sentences that stand beside every figure; notes: those that a reader may want. declared: dataset.json.
    """

    __test__ = False  # not a test of pytest's

    root: Path
    split: str
    samples: tuple[Sample, ...]
    split_by: str | None
    leaked: tuple[str, ...]
    marks: tuple[str, ...]
    notes: tuple[str, ...]
    declared: dict[str, Any]

    @property
    def synthetic(self) -> bool:
        """True for phantoms."""
        return is_synthetic(self.declared)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    def spacing_mm(self, scan: str) -> tuple[float, float, float] | None:
        """Distance in mm of neighbouring slices, rows and columns of a scan; None where it is not declared."""
        table = self.declared.get("spacing_mm")
        if not isinstance(table, dict):
            return None
        values = table.get(scan)
        if not isinstance(values, list) or len(values) != 3:
            return None
        if not all(type(value) in (int, float) and math.isfinite(value) and value > 0 for value in values):
            return None
        return float(values[0]), float(values[1]), float(values[2])


def open_testset(root: Path, split: str, subject: Subject) -> TestSet:
    """List a split for a network.

    Raises DataError where there is no such split, or no masks for a U-Net; ContractError where the slices were made
    through another window than the network's.
    """
    if split not in SPLITS:
        raise DataError(f"`{split}` is not a split.", fix=f"use one of: {', '.join(SPLITS)}")
    layout = layout_for(root, split)
    window, wanted = layout.window_hu, subject.contract.window_hu
    if window is not None and wanted is not None and window != wanted:
        raise ContractError(
            f"{root} was made through the window {_words(window)} HU, the network takes {_words(wanted)} HU.",
            fix="give --data with slices of the network's window",
        )
    samples = layout.splits[split]
    if subject.task == "segment" and any(sample.mask is None for sample in samples):
        raise DataError(f"{root / split} has no masks.", fix="a U-Net needs masks/, not targets.csv")
    whole = len(layout.splits) == len(SPLITS)
    declared_by_slice = layout.declared.get("split_by") == "slice"
    leaked = tuple(sorted(set(layout.leaks()) & set(layout.patients(split))))
    split_by = "slice" if leaked or declared_by_slice else "patient" if whole else None
    marks = _marks(layout, split, split_by, leaked, subject.trained_on)
    notes = []
    if split_by is None:
        notes.append(f"only the split {split} is at hand: whether its patients are in another cannot be known")
    if None in (window, wanted):
        notes.append("the window of the slices or of the network is not declared: whether they agree is not known")
    return TestSet(
        root=root, split=split, samples=in_order(samples),
        split_by=split_by, leaked=leaked, marks=marks, notes=tuple(notes), declared=layout.declared,
    )  # fmt: skip


def _marks(
    layout: Layout, split: str, split_by: str | None, leaked: tuple[str, ...], trained_on: dict[str, Any]
) -> tuple[str, ...]:
    marks = [BESIDE] if layout.synthetic else []
    if split_by == "slice":
        who = (
            f" ({len(leaked)} of {len(layout.patients(split))} patients here are in another split too)"
            if leaked
            else ""
        )
        marks.append(
            f"LEAKY: the data was split by slice{who}. Neighbouring slices of one patient are nearly equal, so these "
            "figures are too good and say nothing about new patients."
        )
    elif trained_on.get("split_by") == "slice":
        marks.append("The network was trained on data split by slice: which patients it has seen is not known.")
    return tuple(marks)


def past_marks(testset: TestSet, past: Past, keyed: Sequence[tuple[str, int | None]]) -> tuple[list[str], list[str]]:
    """Marks and notes on what the network has to do with these patients. keyed: patient and key of every slice."""
    patients = {sample.patient for sample in testset.samples}
    marks = []
    if trained := past.of_split("train", keyed):
        marks.append(
            f"NOT A TEST: the network was trained on {len(trained)} of the {len(patients)} patients of this split."
        )
    if chosen := past.of_split("validate", keyed):
        marks.append(
            "NOT A TEST: the best epoch, or a bundle's temperature and abstain threshold, were chosen on "
            f"{len(chosen)} of the {len(patients)} patients of this split."
        )
    if past.whole:
        return marks, []
    named = {split: past.by_name(split, testset.root, patients) for split in ("train", "validate")}
    for split, known in (("train", trained), ("validate", chosen)):
        if more := sorted(set(named[split]) - set(known)):
            marks.append(
                f"NOT KNOWN whether this is a test: {len(more)} of the {len(patients)} patients have the numbers of "
                f"patients of the network's own {split} split, in a folder of the same name."
            )
    return marks, [
        "The training did not note all slices that it learnt from (it was made before that was noted, or gave its "
        "weights alone): other patients of this split may be among them."
    ]


def _words(window: tuple[float, float]) -> str:
    return f"{window[0]:g}…{window[1]:g}"
