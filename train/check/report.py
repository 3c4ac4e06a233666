"""What a check comes to: the table of slices per class and split, figures, findings; and all of it as JSON.

JSON schema, one object:

    data            path as given
    split_by        "patient", or "slice" where patients stand in several splits
    slices          pictures found; errors, warnings, notes: findings of each severity
    splits          {split: {"patients": n, "patient_names": [...], "slices_per_class": [n0, n1, n2],
                    "shares": [s0, s1, s2] (0…1, of slices with a class), "without_class": n, "slices": n}}, and "all"
    sizes           {"256": slices of 256×256, …}, as stored
    near_duplicates {"compared": n, "nearly_blank": n, "pairs": n, "bits": 1984, "most_different": 60}
    intensity       {"window_hu": [low, high] or null, "share_at_0", "share_at_255": of all pixels,
                    "darkest_tenth_grey", and with a window "darkest_tenth_hu", "peaks_hu": [...],
                    "liver_hu": {"median_of_patients", "lowest_patient", "highest_patient", "p5", "p95", "patients"}}
    findings        [{"severity": "error" | "warning" | "note", "kind", "location", "message"}], errors first
    disclaimer
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lits_deploy import DISCLAIMER
from train.check.duplicates import BITS, MOST_DIFFERENT
from train.check.examine import SliceExamination
from train.check.findings import SEVERITIES, Finding, Severity
from train.data.layout import SPLITS


@dataclass(frozen=True, kw_only=True)
class SplitTable:
    """One row of the table. per_class: slices of class 0, 1, 2; without_class: those whose class is unknown."""

    patients: list[str]
    per_class: tuple[int, int, int]
    without_class: int

    @property
    def slices(self) -> int:
        """All pictures of the split."""
        return sum(self.per_class) + self.without_class

    def to_json(self) -> dict[str, Any]:
        """See the module's schema."""
        return {
            "patients": len(self.patients),
            "patient_names": self.patients,
            "slices_per_class": list(self.per_class),
            "shares": [round(count / max(1, sum(self.per_class)), 4) for count in self.per_class],
            "without_class": self.without_class,
            "slices": self.slices,
        }


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Everything that a check found out. copies: pairs of slices of two splits that are one picture."""

    root: Path
    facts: list[SliceExamination]
    by_slice: bool
    copies: int
    intensity: dict[str, Any]
    findings: list[Finding]

    @cached_property
    def splits(self) -> dict[str, SplitTable]:
        """Rows for train, validate, test and all."""
        rows = {name: [fact for fact in self.facts if fact.entry.split == name] for name in SPLITS}
        return {name: _row(here) for name, here in (*rows.items(), ("all", self.facts))}

    @property
    def sizes(self) -> dict[int, int]:
        """Pictures of each side in pixels, as stored."""
        return dict(sorted(Counter(fact.side for fact in self.facts if fact.side is not None).items()))

    @property
    def compared(self) -> int:
        """Slices that were compared across splits."""
        return sum(fact.code is not None for fact in self.facts)

    @property
    def nearly_blank(self) -> int:
        """Slices that were not: too little is on them."""
        return sum(self.sizes.values()) - self.compared

    def count(self, severity: Severity) -> int:
        """Findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """See the module's schema."""
        return {
            "data": str(self.root),
            "split_by": "slice" if self.by_slice else "patient",
            "slices": self.splits["all"].slices,
            **{f"{severity}s": self.count(severity) for severity in SEVERITIES},
            "splits": {name: row.to_json() for name, row in self.splits.items()},
            "sizes": {str(side): count for side, count in self.sizes.items()},
            "near_duplicates": {
                "compared": self.compared,
                "nearly_blank": self.nearly_blank,
                "pairs": self.copies,
                "bits": BITS,
                "most_different": MOST_DIFFERENT,
            },
            "intensity": self.intensity,
            "findings": [asdict(finding) for finding in self.findings],
            "disclaimer": DISCLAIMER,
        }


def _row(facts: list[SliceExamination]) -> SplitTable:
    counts = Counter(fact.target for fact in facts)
    names = sorted({fact.entry.patient for fact in facts} - {""}, key=patient_order)
    return SplitTable(patients=names, per_class=(counts[0], counts[1], counts[2]), without_class=counts[None])


def patient_order(name: str) -> tuple[int, int, str]:
    """Sorts numbered patients as numbers, before named ones."""
    return (0, int(name), "") if name.isdecimal() else (1, 0, name)
