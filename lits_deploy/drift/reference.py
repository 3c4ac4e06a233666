"""The series that a network was trained on, in numbers and words: what a bundle keeps of them, to compare others with.

`export` writes the record, with the functions that `classify` uses (`portrait`). A manifest comes from a stranger, so
whatever is not as it must be makes it no reference. It names no patient, and its rows are in no order of patients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lits_deploy.drift.features import NUMBERS, Column
from lits_deploy.drift.portrait import TECHNIQUE, Portrait
from lits_deploy.manifest_check import is_count, is_number
from lits_deploy.synthetic import is_synthetic

REFERENCE = "reference"
"""Where a manifest's `training` keeps it."""

SCHEMA = 1
MOST_SERIES = 400
"""Series kept: 400 tell a distribution, and take 50 kB."""

_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class DriftReference:
    """numbers: one row a series, NaN where it is not known; by name, float64 [N]. technique: how many series have each.

    data: name of the data set; synthetic: of phantoms. answers: where the numbers that depend on the network come from,
    or None: there are none.
    """

    numbers: Mapping[str, Column]
    technique: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    data: str = ""
    synthetic: bool = False
    answers: str | None = None

    @property
    def series(self) -> int:
        """How many."""
        return max((len(column) for column in self.numbers.values()), default=0)

    def to_json(self) -> dict[str, Any]:
        """The record."""
        return {
            "schema": SCHEMA,
            "series": self.series,
            "data": self.data,
            "synthetic": self.synthetic,
            "answers": self.answers,
            "numbers": {
                name: [None if np.isnan(value) else float(f"{value:.{_DIGITS}g}") for value in column]
                for name, column in self.numbers.items()
            },
            "words": {name: dict(sorted(found.items())) for name, found in self.technique.items()},
        }

    @classmethod
    def from_json(cls, record: object) -> DriftReference | None:
        """The reference of a record; None where it is none, or one that this version does not read."""
        if not isinstance(record, dict) or record.get("schema") != SCHEMA or not is_count(record.get("series")):
            return None
        numbers, technique, count = record.get("numbers"), record.get("words"), record["series"]
        sound = (
            count <= MOST_SERIES
            and isinstance(numbers, dict)
            and all(isinstance(column, list) and len(column) == count for column in numbers.values())
            and all(value is None or is_number(value) for column in numbers.values() for value in column)
            and isinstance(technique, dict)
            and all(isinstance(found, dict) and all(map(is_count, found.values())) for found in technique.values())
            and isinstance(record.get("data"), str)
            and isinstance(record.get("answers"), str | None)
        )
        if not sound:
            return None
        assert isinstance(numbers, dict)
        assert isinstance(technique, dict)
        known = {number.name for number in NUMBERS}
        return cls(
            numbers={name: np.array(column, np.float64) for name, column in numbers.items() if name in known},
            technique={name: found for name, found in technique.items() if name in TECHNIQUE},
            data=record["data"],
            synthetic=is_synthetic(record),
            answers=record["answers"],
        )


def reference_of(
    portraits: Sequence[Portrait], *, data: str = "", synthetic: bool = False, answers: str | None = None
) -> DriftReference:
    """What is kept of these series; of more than MOST_SERIES an even selection."""
    if len(portraits) > MOST_SERIES:
        kept = np.linspace(0, len(portraits) - 1, MOST_SERIES).round().astype(int).tolist()
        portraits = [portraits[index] for index in kept]
    rows = [[one.numbers.get(number.name, np.nan) for number in NUMBERS] for one in portraits]
    rows.sort(key=lambda row: [np.inf if np.isnan(value) else value for value in row])  # in no order of patients
    columns = np.array(rows, np.float64).reshape(-1, len(NUMBERS)).T
    technique = {name: Counter(one.technique[name] for one in portraits if name in one.technique) for name in TECHNIQUE}
    return DriftReference(
        numbers={n.name: column for n, column in zip(NUMBERS, columns, strict=True) if not np.isnan(column).all()},
        technique={name: dict(found) for name, found in technique.items() if found},
        data=data,
        synthetic=synthetic,
        answers=answers,
    )
